package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// bundle is a database and the program that looks after it.
type bundle struct {
	db   *pgtest.DB
	conn *pgx.Conn
	env  map[string]string
}

func setup(t *testing.T) *bundle {
	t.Helper()

	return newBundle(t, pgtest.NewDB(t))
}

func setupEmpty(t *testing.T) *bundle {
	t.Helper()

	return newBundle(t, pgtest.NewEmptyDB(t))
}

func newBundle(t *testing.T, db *pgtest.DB) *bundle {
	t.Helper()

	return &bundle{db: db, conn: connect(t, db.DSN), env: map[string]string{"IDEM_DATABASE_URL": unqualifiedFails(db.DSN)}}
}

// unqualifiedFails puts the hostile schema of the test databases before PostgreSQL's own, so that SQL
// with unqualified names fails.
func unqualifiedFails(dsn string) string {
	switch {
	case !strings.Contains(dsn, "://"):
		return dsn + " search_path='public,pg_catalog'"
	case strings.Contains(dsn, "?"):
		return dsn + "&search_path=public,pg_catalog"
	default:
		return dsn + "?search_path=public,pg_catalog"
	}
}

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })

	return conn
}

func lookup(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := env[name]

		return value, ok
	}
}

// result is how a run of the program ended.
type result struct {
	status int
	stdout string
	stderr string
}

// run runs the program with nothing on stdin.
func (b *bundle) run(t *testing.T, args ...string) result {
	t.Helper()

	return b.runWith(t.Context(), strings.NewReader(""), args...)
}

func (b *bundle) runWith(ctx context.Context, stdin io.Reader, args ...string) result {
	var stdout, stderr strings.Builder
	status := Program{
		Args: args, Stdin: stdin, Stdout: &stdout, Stderr: &stderr, Version: "v1.2.3",
		LookupEnv: lookup(b.env),
	}.Run(ctx)

	return result{status: status, stdout: stdout.String(), stderr: stderr.String()}
}

// ok runs the program, which must succeed without a word on stderr, and returns its output.
func (b *bundle) ok(t *testing.T, args ...string) string {
	t.Helper()
	r := b.run(t, args...)
	r.want(t, 0)
	if r.stderr != "" {
		t.Fatalf("%v: stderr: %s", args, r.stderr)
	}

	return r.stdout
}

// want checks the exit status, and that stderr holds texts.
func (r result) want(t *testing.T, status int, texts ...string) {
	t.Helper()
	if r.status != status {
		t.Fatalf("exit status %d, want %d\nstdout: %s\nstderr: %s", r.status, status, r.stdout, r.stderr)
	}
	for _, text := range texts {
		if !strings.Contains(r.stderr, text) {
			t.Errorf("stderr lacks %q:\n%s", text, r.stderr)
		}
	}
}

func contains(t *testing.T, output string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(output, text) {
			t.Errorf("the output lacks %q:\n%s", text, output)
		}
	}
}

// decode reads a document that the program printed, and no other fields than T has.
func decode[T any](t *testing.T, output string) (document T) {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(output))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&document); err != nil {
		t.Fatalf("%v:\n%s", err, output)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		t.Fatalf("more than one document:\n%s", output)
	}

	return document
}

// shape is a document with the types of its values instead of the values; of a list it shows
// the first element.
func shape(document any) string {
	switch v := document.(type) {
	case map[string]any:
		fields := make([]string, 0, len(v))
		for name, value := range v {
			fields = append(fields, name+":"+shape(value))
		}
		slices.Sort(fields)

		return "{" + strings.Join(fields, " ") + "}"
	case []any:
		if len(v) == 0 {
			return "[]"
		}

		return "[" + shape(v[0]) + "]"
	case nil:
		return "null"
	default:
		return fmt.Sprintf("%T", v)
	}
}

func (b *bundle) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	if _, err := b.conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

func (b *bundle) one(t *testing.T, sql string, args ...any) (n int64) {
	t.Helper()
	if err := b.conn.QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}

	return n
}

func (b *bundle) register(t *testing.T, consumer, retention string) {
	t.Helper()
	b.ok(t, "consumer", "register", consumer, "--retention", retention)
}

// age makes rows events of a registered consumer, e1 of an hour ago, e2 of two, and so on.
func (b *bundle) age(t *testing.T, consumer string, rows int) {
	t.Helper()
	b.exec(t, `INSERT INTO idem.processed_events (processed_at, consumer_id, key, claim_id, event_id)
		SELECT now() - make_interval(hours => n), c.id, idem.event_key('e' || n), gen_random_uuid(), 'e' || n
		FROM generate_series(1, $1) n, idem.consumers c WHERE c.name = $2`, rows, consumer)
}

package idem_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/schema"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

// modes are all ways in which pgx sends queries. The value tells whether PgBouncer can take it:
// always, if it knows prepared statements, or never, because a statement that is described in
// one server session is executed in another.
var modes = []struct {
	pgx.QueryExecMode

	pooled string
}{
	{pgx.QueryExecModeCacheStatement, "prepared"},
	{pgx.QueryExecModeCacheDescribe, "prepared"},
	{pgx.QueryExecModeDescribeExec, "never"},
	{pgx.QueryExecModeExec, "always"},
	{pgx.QueryExecModeSimpleProtocol, "always"},
}

// TestGuardInAllModes runs one suite in each mode, directly and through PgBouncer, in the usual
// schema, in another, and in one whose name is a reserved word. The search_path of the guard's sessions
// begins with a schema that redefines all that comes with PostgreSQL.
func TestGuardInAllModes(t *testing.T) {
	t.Parallel()
	for _, name := range []string{schema.DefaultName, "dedupe_2", "select"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Run("direct", func(t *testing.T) {
				t.Parallel()
				db := newSchema(t, name)
				for _, mode := range modes {
					t.Run(mode.String(), func(t *testing.T) { //nolint:paralleltest // One cleanup at a time.
						suite(t, db, name, pgtest.ExecMode(mode.QueryExecMode))
					})
				}
			})
			t.Run("PgBouncer", func(t *testing.T) {
				t.Parallel()
				db := newSchema(t, name)
				bouncer, err := pgtest.StartPgBouncer(t, db)
				if err != nil {
					if os.Getenv("CI") == "true" {
						t.Fatal(err)
					}
					t.Logf("NOT TESTED: nothing was tried through PgBouncer: %v", err)

					return
				}
				for _, mode := range modes {
					if mode.pooled == "never" || mode.pooled == "prepared" && !bouncer.PreparedStatements {
						continue
					}
					t.Run(mode.String(), func(t *testing.T) { //nolint:paralleltest // One cleanup at a time.
						suite(t, db, name, pgtest.ExecMode(mode.QueryExecMode), pgtest.Via(bouncer.Addr))
					})
				}
			})
		})
	}
}

// newSchema returns a database with the tables in the schema of that name. goose takes no
// reserved word for it, so all are made of the scripts.
func newSchema(t *testing.T, name string) *pgtest.DB {
	t.Helper()
	db := pgtest.NewEmptyDB(t)
	b := &bundle{owner: db.OwnerPool(t, pgtest.ExecMode(pgx.QueryExecModeSimpleProtocol))}
	scripts, err := migrate.Scripts(name)
	if err != nil {
		t.Fatal(err)
	}
	b.exec(t, "CREATE SCHEMA "+pgx.Identifier{name}.Sanitize())
	for _, script := range scripts {
		b.exec(t, script.Up)
	}
	b.exec(t, `CREATE TABLE public.effects (event_id text NOT NULL)`)

	return db
}

// suite tries everything that a guard does, once.
func suite(t *testing.T, db *pgtest.DB, schemaName string, options ...pgtest.PoolOption) {
	t.Helper()
	b := newBundle(t, db)
	b.schema = schemaName
	pool := db.Pool(t, append(options, pgtest.Hostile(), styles("iso_8601", "German"))...)
	b.guard = newGuard(t, pool, idem.Config{Consumer: t.Name(), Schema: schemaName, Retention: 36 * time.Hour})
	prefix := t.Name() + " " // The effects are one table for all runs.
	if err := b.guard.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, part := range []func(*testing.T, string){b.suiteProcess, b.suiteFailures, b.suiteRecords, b.suiteCheckpoint} {
		part(t, prefix)
	}
	b.suiteClaimTx(t, pool, prefix)
	b.suiteCleanup(t, pool, prefix, schemaName)
}

func (b *bundle) suiteProcess(t *testing.T, prefix string) {
	t.Helper()
	for _, id := range []string{prefix + `it's "1" \ é` + "\n", "0190b5a5-7e4c-7000-8000-" + fmt.Sprintf("%012x", time.Now().UnixNano()&0xffffffffffff)} {
		for _, wanted := range []idem.Outcome{idem.Processed, idem.AlreadyProcessed, idem.AlreadyProcessed} {
			outcome, err := b.guard.ProcessIfNew(t.Context(), id, effect(id))
			want(t, id, outcome, err, wanted)
		}
		b.wantProcessed(t, id, true)
	}
	for _, wanted := range []idem.Outcome{idem.Processed, idem.AlreadyProcessed, idem.AlreadyProcessed} {
		id := prefix + `it's "2" \ é` + "\n"
		outcome, err := b.guard.ExecIfNew(t.Context(), id, queued(id), idem.WithMetadata(idem.Metadata{Host: `h\'`}))
		want(t, id, outcome, err, wanted)
		b.wantProcessed(t, id, true)
		_, err = b.guard.ExecIfNew(t.Context(), id+"fails", queued(id+"fails", `SELECT 1/0`))
		if err == nil {
			t.Error("ExecIfNew: no error")
		}
		b.wantProcessed(t, id+"fails", false)
	}
	for _, level := range isolationLevels {
		id := prefix + string(level)
		outcome, err := b.guard.ProcessIfNew(t.Context(), id, func(ctx context.Context, tx pgx.Tx) error {
			var got string
			if err := tx.QueryRow(ctx, "SHOW transaction_isolation").Scan(&got); err != nil || got != string(level) {
				t.Errorf("isolation is %q, want %q, %v", got, level, err)
			}
			err := pgx.BeginFunc(ctx, tx, func(inner pgx.Tx) error {
				return errors.Join(effect(id)(ctx, inner), errBoom)
			})
			if !errors.Is(err, errBoom) {
				t.Errorf("savepoint: %v", err)
			}

			return effect(id)(ctx, tx)
		}, idem.WithIsolation(level), idem.WithHandlerDuration(), idem.WithMetadata(idem.Metadata{Host: `h\'`, User: json.RawMessage(`{"a": [1, null]}`)}))
		want(t, id, outcome, err, idem.Processed)
		b.wantProcessed(t, id, true)
		record, err := b.guard.Lookup(t.Context(), id)
		var metadata struct {
			Host      string          `json:"host"`
			User      json.RawMessage `json:"user"`
			HandlerMS float64         `json:"handler_ms"`
		}
		if err := errors.Join(err, json.Unmarshal(record.Metadata, &metadata)); err != nil {
			t.Fatal(err)
		}
		if metadata.Host != `h\'` || !sameJSON(t, metadata.User, `{"a": [1, null]}`) || metadata.HandlerMS <= 0 {
			t.Errorf("metadata: %s", record.Metadata)
		}
	}
}

func (b *bundle) suiteFailures(t *testing.T, prefix string) {
	t.Helper()
	id := prefix + "fails"
	_, err := b.guard.ProcessIfNew(t.Context(), id, func(ctx context.Context, tx pgx.Tx) error {
		return errors.Join(effect(id)(ctx, tx), errBoom)
	})
	if !errors.Is(err, errBoom) {
		t.Errorf("handler error: %v", err)
	}
	b.wantProcessed(t, id, false)
	func() {
		defer func() {
			if value := recover(); value != any(errBoom) {
				t.Errorf("recovered %v", value)
			}
		}()
		_, _ = b.guard.ProcessIfNew(t.Context(), id, func(ctx context.Context, tx pgx.Tx) error {
			if err := effect(id)(ctx, tx); err != nil {
				return err
			}
			panic(errBoom)
		})
	}()
	b.wantProcessed(t, id, false)
	handler, runs := once(id, func(ctx context.Context, tx pgx.Tx) error { return raise(ctx, tx, "40001") })
	outcome, err := b.guard.ProcessIfNew(t.Context(), id, handler)
	want(t, "after a transient error", outcome, err, idem.Processed)
	if *runs != 2 {
		t.Errorf("%d runs", *runs)
	}
	b.wantProcessed(t, id, true)
}

func (b *bundle) suiteRecords(t *testing.T, prefix string) {
	t.Helper()
	ctx, id := t.Context(), prefix+"marked"
	if _, err := b.guard.Lookup(ctx, id); !errors.Is(err, idem.ErrNotFound) {
		t.Errorf("Lookup of an unknown event: %v", err)
	}
	outcome, err := b.guard.MarkProcessed(ctx, id)
	want(t, "mark", outcome, err, idem.Processed)
	record, err := b.guard.Lookup(ctx, id)
	if err != nil || record.Key != idem.Key(id) || record.ProcessedAt.IsZero() || record.Metadata != nil {
		t.Errorf("Lookup: %+v, %v", record, err)
	}
	n, err := b.guard.MarkAllProcessed(ctx, []string{prefix + "1", id, prefix + "2", prefix + "1"})
	if n != 2 || err != nil {
		t.Errorf("MarkAllProcessed: %d, %v", n, err)
	}
	n, err = b.guard.Forget(ctx, id, prefix+"1", prefix+"unknown", prefix+"2")
	if n != 3 || err != nil {
		t.Errorf("Forget: %d, %v", n, err)
	}
}

func (b *bundle) suiteClaimTx(t *testing.T, pool *pgxpool.Pool, prefix string) {
	t.Helper()
	ctx, id := t.Context(), prefix+"claimed"
	for _, end := range []string{"rollback", "commit", "duplicate"} {
		tx, err := pool.Begin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		claim, err := b.guard.ClaimTx(ctx, tx, id)
		if err != nil || claim.New != (end != "duplicate") {
			t.Fatalf("%s: %+v, %v", end, claim, err)
		}
		if end == "commit" {
			err = tx.Commit(ctx)
		} else {
			err = tx.Rollback(ctx)
		}
		if err != nil {
			t.Fatal(err)
		}
		switch outcome, err := b.guard.Resolve(ctx, claim); end {
		case "rollback":
			if !errors.Is(err, idem.ErrNotFound) {
				t.Errorf("rolled back: %v, %v", outcome, err)
			}
		case "commit":
			want(t, "committed", outcome, err, idem.Processed)
		default:
			want(t, "duplicate", outcome, err, idem.AlreadyProcessed)
		}
	}
}

func (b *bundle) suiteCheckpoint(t *testing.T, prefix string) {
	t.Helper()
	acquire(t, b.guard)
	w := acquire(t, b.guard)
	id, dead := prefix+"placed", letter(prefix+"dead", 2)
	dead.ID = uuid.Must(uuid.NewV7())
	for _, wanted := range []idem.Outcome{idem.Processed, idem.AlreadyProcessed} {
		outcome, err := w.Process(t.Context(), idem.Event{ID: id, Offset: 0}, effect(id))
		want(t, id, outcome, err, wanted)
		outcome, err = w.Process(t.Context(), idem.Event{ByCheckpoint: true, Offset: 1}, effect(id+" too"))
		want(t, id+" too", outcome, err, wanted)
		outcome, err = w.StoreDeadLetter(t.Context(), dead)
		want(t, "dead letter", outcome, err, wanted)
	}
	b.wantProcessed(t, id, true)
	starts, err := w.Begin(t.Context(), 3)
	if err := errors.Join(err, w.End(t.Context(), 3), w.Advance(t.Context(), 9), w.Reset(t.Context(), 4)); err != nil || starts != 1 {
		t.Error(starts, err)
	}
	b.wantNone(t)
	if keys, err := b.guard.Unfenced(partition).ParkedKeys(t.Context()); err != nil || !keys.Has([]byte("key\x00\xff")) {
		t.Errorf("parked keys: %v, %v", keys, err)
	}
	parked := letter(prefix+"parked", 4)
	parked.State = idem.DeadLetterParked
	outcome, err := w.StoreDeadLetter(t.Context(), parked)
	want(t, "parked", outcome, err, idem.Processed)
	if n, err := discard(t.Context(), operator(t, b.guard.Pool(), b.schema), dead.ID); err != nil || n != 1 {
		t.Fatalf("discarded: %d, %v", n, err)
	}
	next := b.next(t)
	outcome, err = w.Replay(t.Context(), next, effect(next.EventID))
	want(t, "replay", outcome, err, idem.Processed)
	b.wantProcessed(t, prefix+"parked", true)
}

func (b *bundle) suiteCleanup(t *testing.T, pool *pgxpool.Pool, prefix, schemaName string) {
	t.Helper()
	ctx := t.Context()
	ids := []string{prefix + "old 1", prefix + "old 2", prefix + "young"}
	if n, err := b.guard.MarkAllProcessed(ctx, ids); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	events := pgx.Identifier{schemaName, "processed_events"}.Sanitize()
	b.exec(t, `UPDATE `+events+` SET processed_at = now() - interval '36 hours 1 minute' WHERE event_id = ANY ($1)`, ids[:2])
	b.exec(t, `UPDATE `+events+` SET processed_at = now() - interval '35 hours 59 minutes' WHERE event_id = $1`, ids[2])
	plan, err := operator(t, pool, schemaName).PlanCleanup(ctx)
	if err != nil || len(plan.Consumers) != 1 || plan.Consumers[0].Consumer != t.Name() || plan.Expired != 2 {
		t.Errorf("PlanCleanup: %v, %v", plan, err)
	}
	report, err := b.guard.CleanupOldEvents(ctx)
	if err != nil || !report.Complete || report.Deleted != 2 || report.Consumers[t.Name()] != 2 {
		t.Errorf("CleanupOldEvents: %+v, %v", report, err)
	}
	for i, id := range ids {
		if done, err := b.guard.IsProcessed(ctx, id); done != (i == 2) || err != nil {
			t.Errorf("%s: %v, %v", id, done, err)
		}
	}
}

// styles sets how the sessions write intervals and times as text.
func styles(interval, date string) pgtest.PoolOption {
	return func(config *pgxpool.Config) {
		config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.PgConn().Exec(ctx, "SET intervalstyle = "+interval+"; SET datestyle = "+date).ReadAll()

			return err
		}
	}
}

// How the sessions write intervals and times changes nothing. It ended in "bad interval format" in the
// modes in which pgx reads text.
func TestStylesOfTheSession(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, interval := range []string{"postgres", "postgres_verbose", "sql_standard", "iso_8601"} {
		for _, date := range []string{"German", "SQL", "Postgres"} {
			for _, mode := range modes {
				name := interval + " " + date + " " + mode.String()
				config := idem.Config{Consumer: name, Retention: 36*time.Hour + 30*time.Second + 7*time.Microsecond}
				guard := newGuard(t, b.db.Pool(t, pgtest.ExecMode(mode.QueryExecMode), styles(interval, date)), config)
				before := time.Now().Add(-time.Minute)
				outcome, err := acquire(t, guard).Process(t.Context(), idem.Event{ID: name, Offset: 0}, effect(name))
				want(t, name, outcome, err, idem.Processed)
				acquire(t, guard)
				if record, err := guard.Lookup(t.Context(), name); err != nil || record.ProcessedAt.Before(before) || record.ProcessedAt.After(before.Add(time.Hour)) {
					t.Errorf("%s: %+v, %v", name, record, err)
				}
				if err := newGuard(t, b.pool, config).Register(t.Context()); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	}
}

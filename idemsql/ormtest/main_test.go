package ormtest_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "github.com/lib/pq"
	_ "github.com/uptrace/bun/driver/pgdriver"

	"go.uber.org/goleak"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/idemsql"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

func TestMain(m *testing.M) {
	pgtest.Main(m, goleak.IgnoreAnyFunction("gorm.io/gorm/internal/lru.NewLRU[...].func1")) // GORM never ends it.
}

var errBoom = errors.New("boom")

// bundle is a database with the table effects, a library that writes into it, and a guard.
type bundle struct {
	library

	database *pgtest.DB
	proxy    *pgtest.Proxy // between the library and the server
	direct   *sql.DB       // to the server
	db       *sql.DB       // the library's
	guard    *idemsql.Guard
}

// each runs a test with each library.
func each(t *testing.T, test func(t *testing.T, b *bundle)) {
	t.Helper()
	eachOf(t, slices.Collect(maps.Keys(libraries)), test)
}

// eachDriver runs a test with each driver.
func eachDriver(t *testing.T, test func(t *testing.T, b *bundle)) {
	t.Helper()
	eachOf(t, []string{"pgx", "pq", "pgdriver"}, test)
}

func eachOf(t *testing.T, names []string, test func(t *testing.T, b *bundle)) {
	t.Helper()
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, setup(t, libraries[name]))
		})
	}
}

func setup(t *testing.T, open opener) *bundle {
	t.Helper()
	database := pgtest.NewServiceDB(t)
	b := &bundle{database: database, proxy: pgtest.NewProxy(t, database)}
	dsn, err := database.Through(b.proxy)
	if err != nil {
		t.Fatal(err)
	}
	b.direct = openDB(t, "pgx", database.DSN)
	b.db = openDB(t, open.driver, dsn)
	b.exec(t, `CREATE TABLE public.effects (event_id text NOT NULL)`)
	b.library = open.library(t, b.db)
	b.guard, err = idemsql.New(b.db, idem.Config{
		Consumer: "orders", Retry: idem.RetryPolicy{InitialBackoff: time.Millisecond}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.guard.Register(t.Context()); err != nil {
		t.Fatal(err)
	}

	return b
}

func openDB(t *testing.T, driver, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })

	return db
}

func (b *bundle) exec(t *testing.T, query string) {
	t.Helper()
	if _, err := b.direct.ExecContext(t.Context(), query); err != nil {
		t.Fatal(err)
	}
}

// handler writes an effect of the event.
func (b *bundle) handler(eventID string) func(ctx context.Context, tx *sql.Tx) error {
	return func(ctx context.Context, tx *sql.Tx) error { return b.insert(ctx, tx, eventID) }
}

// wantProcessed checks that the claim and the effect of an event are both there or both not.
func (b *bundle) wantProcessed(t *testing.T, eventID string, want bool) {
	t.Helper()
	got, err := b.guard.IsProcessed(t.Context(), eventID)
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := b.direct.QueryRowContext(t.Context(), `SELECT count(*) FROM public.effects WHERE event_id = $1`, eventID).Scan(&n); err != nil {
		t.Fatal(err)
	}
	if got != want || n != map[bool]int{true: 1, false: 0}[want] {
		t.Fatalf("event %q: processed is %v and it took effect %d times, want %v", eventID, got, n, want)
	}
}

func want(t *testing.T, what string, got idem.Outcome, err error, wanted idem.Outcome) {
	t.Helper()
	if err != nil || got != wanted {
		t.Fatalf("%s: got %v, %v; want %v", what, got, err, wanted)
	}
}

// waitUntil returns once an SQL condition holds.
func (b *bundle) waitUntil(ctx context.Context, condition string) error {
	for holds := false; !holds; {
		if err := b.direct.QueryRowContext(ctx, "SELECT "+condition).Scan(&holds); err != nil {
			return err
		}
	}

	return nil
}

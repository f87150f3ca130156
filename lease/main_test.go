package lease_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/lease"
)

// TestMain is also the main function of the workers, which run this program again.
func TestMain(m *testing.M) {
	if os.Getenv(envWorker) != "" {
		os.Exit(work(os.Stdin))
	}
	pgtest.Main(m)
}

var errBoom = errors.New("boom")

// quiet is for tests in which much goes wrong on purpose.
var quiet = slog.New(slog.DiscardHandler)

// bundle is what most tests need: a database of their own, with a table for the caller's own writes, and the guard of
// a consumer.
type bundle struct {
	db    *pgtest.DB
	pool  *pgxpool.Pool // of a service's role
	owner *pgxpool.Pool
	guard *idem.Guard
}

func setup(t *testing.T) *bundle {
	t.Helper()
	db := pgtest.NewDB(t)
	b := &bundle{db: db, pool: db.Pool(t), owner: db.OwnerPool(t)}
	b.exec(t, `CREATE TABLE public.orders (event_id text NOT NULL)`)
	b.guard = newGuard(t, b.pool)

	return b
}

func newGuard(t *testing.T, pool *pgxpool.Pool) *idem.Guard {
	t.Helper()
	guard, err := idem.New(pool, idem.Config{Consumer: "payments"})
	if err != nil {
		t.Fatal(err)
	}

	return guard
}

func newLeases(t *testing.T, guard *idem.Guard, config lease.Config) *lease.Leases {
	t.Helper()
	leases, err := lease.New(guard, config)
	if err != nil {
		t.Fatal(err)
	}

	return leases
}

func (b *bundle) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	if _, err := b.owner.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

// count runs a query that counts something.
func (b *bundle) count(t *testing.T, sql string, args ...any) int {
	t.Helper()
	var n int
	if err := b.owner.QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}

	return n
}

// expire ends the lease of an event, as if its process had crashed long ago.
func (b *bundle) expire(t *testing.T, eventID string) {
	t.Helper()
	b.exec(t, `UPDATE idem.leases SET until = clock_timestamp() - interval '1 s' WHERE key = idem.event_key($1)`, eventID)
}

// wants checks what a call returned.
func wants(t *testing.T, what string, done lease.Done, err error, outcome lease.Outcome, body string) {
	t.Helper()
	if err != nil || done.Outcome != outcome || string(done.Result.Body) != body {
		t.Fatalf("%s: got %v with %q, %v; want %v with %q", what, done.Outcome, done.Result.Body, err, outcome, body)
	}
}

// wantsBusy returns when to come back to an event that is in progress.
func wantsBusy(t *testing.T, what string, done lease.Done, err error) time.Duration {
	t.Helper()
	var busy *lease.InProgressError
	if done.Outcome != 0 || !errors.As(err, &busy) || !idem.IsTransient(err) {
		t.Fatalf("%s: got %v with %q, %v; want it in progress", what, done.Outcome, done.Result.Body, err)
	}

	return busy.RetryAfter
}

// text is a result.
func text(body string) lease.Result {
	return lease.Result{ContentType: "text/plain", Body: []byte(body)}
}

// returns is a function that returns a result.
func returns(body string) lease.Func {
	return func(context.Context, *lease.Attempt) (lease.Result, error) { return text(body), nil }
}

// fails is a function that did nothing.
func fails(context.Context, *lease.Attempt) (lease.Result, error) { return lease.Result{}, errBoom }

// mustNotRun is a function that fails the test.
func mustNotRun(t *testing.T) lease.Func {
	t.Helper()

	return func(context.Context, *lease.Attempt) (lease.Result, error) {
		t.Error("the function ran")

		return lease.Result{}, nil
	}
}

// mustNotStep is mustNotRun for a step.
func mustNotStep(t *testing.T) func(context.Context) (lease.Result, error) {
	t.Helper()

	return func(ctx context.Context) (lease.Result, error) { return mustNotRun(t)(ctx, nil) }
}

// order is a caller's own write.
func order(eventID string) idem.Handler {
	return func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO public.orders VALUES ($1)`, eventID)

		return err
	}
}

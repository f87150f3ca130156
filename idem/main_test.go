package idem_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/ops"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

var errBoom = errors.New("boom")

// bundle is what most tests need: a database of their own, a guard, and the table effects,
// into which handlers write. It has no unique index: an event that takes effect twice shows.
type bundle struct {
	db     *pgtest.DB
	pool   *pgxpool.Pool // of a service's role
	owner  *pgxpool.Pool
	guard  *idem.Guard
	schema string // of the guard's tables; empty: the usual one
}

func setup(t *testing.T) *bundle {
	t.Helper()
	b := newBundle(t, pgtest.NewDB(t))
	b.exec(t, `CREATE TABLE public.effects (event_id text NOT NULL)`)
	b.guard = newGuard(t, b.pool, idem.Config{Consumer: "orders"})

	return b
}

// newBundle has no guard yet.
func newBundle(t *testing.T, db *pgtest.DB) *bundle {
	t.Helper()

	return &bundle{db: db, pool: db.Pool(t), owner: db.OwnerPool(t)}
}

func newGuard(t *testing.T, pool *pgxpool.Pool, config idem.Config) *idem.Guard {
	t.Helper()
	guard, err := idem.New(pool, config)
	if err != nil {
		t.Fatal(err)
	}

	return guard
}

func (b *bundle) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	if _, err := b.owner.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

// operator returns what operators use beside a guard.
func operator(t *testing.T, pool *pgxpool.Pool, schemaName string) *ops.Client {
	t.Helper()
	client, err := ops.New(pool, ops.Config{Schema: schemaName})
	if err != nil {
		t.Fatal(err)
	}

	return client
}

// discard discards dead letters, and returns how many were unresolved.
func discard(ctx context.Context, client *ops.Client, ids ...uuid.UUID) (int64, error) {
	if len(ids) == 0 {
		return 0, nil
	}
	var choice ops.DeadLetterChoice
	for _, id := range ids {
		choice.IDs = append(choice.IDs, id.String())
	}
	plan, err := client.PlanDiscard(ctx, choice)
	if err != nil {
		return 0, err
	}
	done, err := client.DiscardDeadLetters(ctx, plan, nil)

	return done.Changed, err
}

// effects counts what took effect for an event.
func (b *bundle) effects(t *testing.T, eventID string) int {
	t.Helper()
	var n int
	err := b.pool.QueryRow(t.Context(), `SELECT count(*) FROM public.effects WHERE event_id = $1`, eventID).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}

	return n
}

// wantProcessed checks that the claim and the effect of an event are both there or both not.
func (b *bundle) wantProcessed(t *testing.T, eventID string, want bool) {
	t.Helper()
	got, err := b.guard.IsProcessed(t.Context(), eventID)
	if err != nil {
		t.Fatal(err)
	}
	n := b.effects(t, eventID)
	if got != want || n != map[bool]int{true: 1, false: 0}[want] {
		t.Fatalf("event %q: processed is %v and it took effect %d times, want %v", eventID, got, n, want)
	}
}

// effect is the handler of most tests.
func effect(eventID string) idem.Handler {
	return func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO public.effects VALUES ($1)`, eventID)

		return err
	}
}

func want(t *testing.T, what string, got idem.Outcome, err error, wanted idem.Outcome) {
	t.Helper()
	if err != nil || got != wanted {
		t.Fatalf("%s: got %v, %v; want %v", what, got, err, wanted)
	}
}

// waitForLock returns once a backend of the test's database waits for another transaction.
func (b *bundle) waitForLock(t *testing.T) {
	t.Helper()
	b.waitUntil(t, `EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')`)
}

// waitUntil returns once an SQL condition holds.
func (b *bundle) waitUntil(t *testing.T, condition string, args ...any) {
	t.Helper()
	for holds := false; !holds; {
		if err := b.owner.QueryRow(t.Context(), "SELECT "+condition, args...).Scan(&holds); err != nil {
			t.Fatal(err)
		}
	}
}

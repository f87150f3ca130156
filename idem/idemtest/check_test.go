package idemtest_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/idem/idemtest"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// service is what the handlers of these tests use.
type service struct {
	pool  *pgxpool.Pool
	guard *idem.Guard
}

const charge = `INSERT INTO charges (payment, cents) VALUES ($1, 100)`

func newService(t testing.TB, pool *pgxpool.Pool) *service {
	t.Helper()
	_, err := pool.Exec(t.Context(), `
		CREATE TABLE charges (id bigserial PRIMARY KEY, payment text NOT NULL, cents bigint NOT NULL, at timestamptz NOT NULL DEFAULT now());
		CREATE TABLE accounts (id text PRIMARY KEY, balance bigint NOT NULL);
		INSERT INTO accounts VALUES ('alice', 1000)`)
	if err != nil {
		t.Fatal(err)
	}
	guard, err := idem.New(pool, idem.Config{Consumer: "payments"})
	if err != nil {
		t.Fatal(err)
	}

	return &service{pool: pool, guard: guard}
}

// handler makes a handler of a payment, with all that it keeps.
type handler func(s *service) func(ctx context.Context, tx pgx.Tx, payment string) error

// plain writes as a handler should.
func plain(*service) func(ctx context.Context, tx pgx.Tx, payment string) error {
	return func(ctx context.Context, tx pgx.Tx, payment string) error {
		if _, err := tx.Exec(ctx, charge, payment); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE accounts SET balance = balance - 100 WHERE id = 'alice'`)

		return err
	}
}

// handlers are right and wrong ones, by what Check says of them.
var handlers = map[string]struct {
	make handler
	want []string // parts of what Check says; none: nothing
}{
	"right": {plain, nil},
	"savepoint": {func(*service) func(ctx context.Context, tx pgx.Tx, payment string) error {
		return func(ctx context.Context, tx pgx.Tx, payment string) error {
			_ = pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
				_, err := tx.Exec(ctx, `UPDATE accounts SET balance = balance - 100 WHERE id = 'alice'`)

				return err
			})
			_, err := tx.Exec(ctx, charge, payment)

			return err
		}
	}, nil},
	"through the pool": {func(s *service) func(ctx context.Context, tx pgx.Tx, payment string) error {
		return func(ctx context.Context, _ pgx.Tx, payment string) error {
			_, err := s.pool.Exec(ctx, charge, payment)

			return err
		}
	}, []string{"delivered once", "wrote outside its transaction: public.charges: written", `payment: "p-1"`}},
	"through the pool, nothing new": {func(s *service) func(ctx context.Context, tx pgx.Tx, payment string) error {
		return func(ctx context.Context, _ pgx.Tx, _ string) error {
			_, err := s.pool.Exec(ctx, `UPDATE accounts SET balance = balance`)

			return err
		}
	}, []string{"delivered once", "wrote outside its transaction: public.accounts"}},
	"overlooks a failed statement": {func(*service) func(ctx context.Context, tx pgx.Tx, payment string) error {
		return func(ctx context.Context, tx pgx.Tx, payment string) error {
			_, err := tx.Exec(ctx, charge, payment)
			var pgErr *pgconn.PgError
			if errors.As(err, &pgErr) && pgErr.Code == "23505" {
				return nil // It was charged before.
			}

			return err
		}
	}, []string{"statement 1 of the handlers failed", "returned nil although a statement had failed: INSERT INTO charges"}},
	"keeps tx": {func(*service) func(ctx context.Context, tx pgx.Tx, payment string) error {
		var kept pgx.Tx

		return func(ctx context.Context, tx pgx.Tx, payment string) error {
			if kept == nil {
				kept = tx
			}
			_, _ = kept.Exec(ctx, `SELECT 1`)
			_, err := tx.Exec(ctx, charge, payment)

			return err
		}
	}, []string{"used tx after it had returned: SELECT 1"}},
	"remembers in memory": {func(*service) func(ctx context.Context, tx pgx.Tx, payment string) error {
		var seen sync.Map

		return func(ctx context.Context, tx pgx.Tx, payment string) error {
			if _, known := seen.LoadOrStore(payment, true); known {
				return nil
			}
			_, err := tx.Exec(ctx, charge, payment)

			return err
		}
	}, []string{"crash after the handler of transaction 1, then delivered again", "public.charges: missing"}},
}

func TestCheckEvents(t *testing.T) {
	t.Parallel()
	for name, h := range handlers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			said := run(func(t testing.TB) {
				idemtest.Check(t, func(pool *pgxpool.Pool) idemtest.Subject {
					s := newService(t, pool)
					handle := h.make(s)
					event := func(id string) idemtest.Event {
						return idemtest.Event{ID: id, Handle: func(ctx context.Context, tx pgx.Tx) error { return handle(ctx, tx, id) }}
					}

					return idemtest.Events(s.guard, event("p-1"), event("p-2"))
				})
			})
			wantSaid(t, said, h.want)
		})
	}
}

func records(ids ...string) []consume.Record {
	all := make([]consume.Record, len(ids))
	for i, id := range ids {
		all[i] = consume.Record{Topic: "payments", Value: []byte(id), Headers: []consume.RecordHeader{{Key: consume.DefaultEventIDHeader, Value: []byte(id)}}}
	}

	return all
}

func TestCheckRecords(t *testing.T) {
	t.Parallel()
	configs := map[string]consume.Config{
		"shared": {}, "own": {OwnTransactions: true}, "lanes": {Lanes: consume.LanesConfig{Count: 2}},
		"by event id": {Mode: consume.ByEventID}, "by checkpoint": {Mode: consume.ByCheckpoint},
	}
	for name, h := range handlers {
		for mode, config := range configs {
			if name != "right" && mode != "own" {
				continue // One will do.
			}
			t.Run(name+"/"+mode, func(t *testing.T) {
				t.Parallel()
				said := run(func(t testing.TB) {
					idemtest.Check(t, func(pool *pgxpool.Pool) idemtest.Subject {
						s := newService(t, pool)
						handle := h.make(s)
						config.Handle = func(ctx context.Context, tx pgx.Tx, m consume.Message) error { return handle(ctx, tx, string(m.Value)) }

						return idemtest.Records(s.guard, config, records("p-1", "p-2", "p-3")...)
					})
				})
				wantSaid(t, said, h.want)
			})
		}
	}
}

func wantSaid(t *testing.T, said string, want []string) {
	t.Helper()
	if len(want) == 0 && said != "" {
		t.Errorf("it says %s", said)
	}
	for _, part := range want {
		if !strings.Contains(said, part) {
			t.Errorf("it says %q, want %q", said, part)
		}
	}
	t.Log(said)
}

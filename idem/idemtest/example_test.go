package idemtest_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/idem/idemtest"
)

// newPayments makes the tables and the guard of the examples' service.
func newPayments(t testing.TB, pool *pgxpool.Pool) *idem.Guard {
	t.Helper()
	if _, err := pool.Exec(t.Context(), `CREATE TABLE charges (payment text PRIMARY KEY, cents bigint NOT NULL)`); err != nil {
		t.Fatal(err)
	}
	guard, err := idem.New(pool, idem.Config{Consumer: "payments"})
	if err != nil {
		t.Fatal(err)
	}

	return guard
}

func newRecord(payment string) consume.Record {
	return consume.Record{
		Topic: "payments", Value: []byte(payment),
		Headers: []consume.RecordHeader{{Key: consume.DefaultEventIDHeader, Value: []byte(payment)}},
	}
}

// A handler that is right. In a test, t is the test's own.
func ExampleCheck() {
	failure := run(func(t testing.TB) {
		idemtest.Check(t, func(pool *pgxpool.Pool) idemtest.Subject {
			guard := newPayments(t, pool)
			charge := func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
				_, err := tx.Exec(ctx, `INSERT INTO charges VALUES ($1, 100)`, string(m.Value))

				return err
			}

			return idemtest.Records(guard, consume.Config{Handle: charge}, newRecord("p-1"), newRecord("p-2"))
		})
	})
	fmt.Printf("%q\n", failure)
	// Output:
	// ""
}

// A handler that writes through the pool: if its transaction is rolled back, the charge stays.
func ExampleCheck_throughThePool() {
	fmt.Println(run(func(t testing.TB) {
		idemtest.Check(t, func(pool *pgxpool.Pool) idemtest.Subject {
			guard := newPayments(t, pool)
			charge := func(ctx context.Context, _ pgx.Tx) error {
				_, err := pool.Exec(ctx, `INSERT INTO charges VALUES ('p-1', 100)`)

				return err
			}

			return idemtest.Events(guard, idemtest.Event{ID: "p-1", Handle: charge})
		})
	}))
	// Output:
	// idemtest: delivered once: the handler of event "p-1" wrote outside its transaction: public.charges: written {cents: 100, payment: "p-1"}; write through tx
}

// A handler that takes a duplicate key for a payment that was charged before. PostgreSQL has aborted the
// transaction by then, so the event can never be processed. ON CONFLICT DO NOTHING would do.
func ExampleCheck_failedStatement() {
	fmt.Println(run(func(t testing.TB) {
		idemtest.Check(t, func(pool *pgxpool.Pool) idemtest.Subject {
			guard := newPayments(t, pool)
			charge := func(ctx context.Context, tx pgx.Tx) error {
				_, err := tx.Exec(ctx, `INSERT INTO charges VALUES ('p-1', 100)`)
				var pgErr *pgconn.PgError
				if errors.As(err, &pgErr) && pgErr.Code == "23505" {
					return nil // It was charged before.
				}

				return err
			}

			return idemtest.Events(guard, idemtest.Event{ID: "p-1", Handle: charge})
		})
	}))
	// Output:
	// idemtest: statement 1 of the handlers failed: the handler of event "p-1" returned nil although a statement had failed: INSERT INTO charges VALUES ('p-1', 100); return the error, or run what may fail in a savepoint (tx.Begin)
}

// A handler that remembers in memory what it has done. The transaction is rolled back, the memory is not:
// when the event comes again, the handler does nothing and the charge is lost.
func ExampleCheck_memory() {
	fmt.Println(run(func(t testing.TB) {
		idemtest.Check(t, func(pool *pgxpool.Pool) idemtest.Subject {
			guard := newPayments(t, pool)
			var seen sync.Map
			charge := func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
				if _, known := seen.LoadOrStore(m.EventID, true); known {
					return nil
				}
				_, err := tx.Exec(ctx, `INSERT INTO charges VALUES ($1, 100)`, string(m.Value))

				return err
			}

			return idemtest.Records(guard, consume.Config{Handle: charge}, newRecord("p-1"))
		})
	}))
	// Output:
	// idemtest: crash after the handler, then delivered again: not what an undisturbed delivery does: public.charges: missing {cents: 100, payment: "p-1"}
}

// A handler that sends a mail before its transaction is committed. It should write the mail into a table,
// from which somebody sends it later.
func ExampleSubject_Outside() {
	fmt.Println(run(func(t testing.TB) {
		idemtest.Check(t, func(pool *pgxpool.Pool) idemtest.Subject {
			guard := newPayments(t, pool)
			var mails atomic.Int64
			charge := func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
				if _, err := tx.Exec(ctx, `INSERT INTO charges VALUES ($1, 100)`, string(m.Value)); err != nil {
					return err
				}
				mails.Add(1) // It is sent.

				return nil
			}

			return idemtest.Records(guard, consume.Config{Handle: charge}, newRecord("p-1")).
				Outside("mails", func() int { return int(mails.Load()) })
		})
	}))
	// Output:
	// idemtest: crash after the handler, then delivered again: not what an undisturbed delivery does: mails: 2, want 1; handlers run again after a crash, so write down in tx what is to be done outside
}

// A record that cannot be processed becomes a dead letter, and the others take effect.
func ExampleConsume() {
	fmt.Println(run(func(t testing.TB) {
		guard := newPayments(t, idemtest.Pool(t))
		config := consume.Config{Handle: func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
			if len(m.Value) == 0 {
				return consume.Permanent(errors.New("the payment is empty"))
			}
			_, err := tx.Exec(ctx, `INSERT INTO charges VALUES ($1, 100)`, string(m.Value))

			return err
		}}
		empty := newRecord("p-2")
		empty.Value = nil

		did := idemtest.Consume(t, guard, config, newRecord("p-1"), empty, newRecord("p-3"), newRecord("p-1"))
		fmt.Printf("%d processed, %d dead letter, %d duplicate\n", did.Processed, did.DeadLetters, did.Duplicates)
		idemtest.ProcessedOnce(t, guard, "p-1", `SELECT count(*) FROM charges WHERE payment = 'p-1'`)
		fmt.Println(idemtest.DeadLettered(t, guard, "p-2").Error)
		idemtest.Processed(t, guard, "p-2", "p-3")
	}))
	// Output:
	// 2 processed, 1 dead letter, 1 duplicate
	// idem: handler failed: the payment is empty
	// idemtest: event "p-2" is not processed: it is a dead letter (open, attempts: 1): idem: handler failed: the payment is empty
}

// The server commits, and the connection is lost before it says so. The guard finds out.
func ExampleCrash() {
	fmt.Println(run(func(t testing.TB) {
		pool := idemtest.Pool(t)
		guard := newPayments(t, pool)
		deliver := func(ctx context.Context) error {
			outcome, err := guard.ProcessIfNew(ctx, "p-1", func(ctx context.Context, tx pgx.Tx) error {
				_, err := tx.Exec(ctx, `INSERT INTO charges VALUES ('p-1', 100)`)

				return err
			})
			fmt.Println(outcome, err)

			return err
		}
		idemtest.Crash(t, pool, idemtest.CommitUnanswered, deliver)
		if err := deliver(t.Context()); err != nil {
			t.Error(err)
		}
		idemtest.ProcessedOnce(t, guard, "p-1", `SELECT count(*) FROM charges`)
	}))
	// Output:
	// processed <nil>
	// already processed <nil>
}

package idem_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// connect stands for the pgxpool.New of a service whose database has the guard's tables
// ("idemctl migrate up") and one of its own.
func connect() (pool *pgxpool.Pool, done func()) {
	return pgtest.Example(`CREATE TABLE accounts (id text PRIMARY KEY, balance int NOT NULL); INSERT INTO accounts VALUES ('ada', 0)`)
}

// balance is what handlers in the examples have done to the account.
func balance(ctx context.Context, pool *pgxpool.Pool) (n int) {
	if err := pool.QueryRow(ctx, `SELECT balance FROM accounts WHERE id = 'ada'`).Scan(&n); err != nil {
		panic(err)
	}

	return n
}

// An event that is delivered twice takes effect once.
func ExampleGuard_ProcessIfNew() {
	ctx := context.Background()
	pool, done := connect()
	defer done()

	guard, err := idem.New(pool, idem.Config{Consumer: "payments"})
	if err != nil {
		fmt.Println(err)

		return
	}
	for range 2 {
		outcome, err := guard.ProcessIfNew(ctx, "payment-4711", func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `UPDATE accounts SET balance = balance + 10 WHERE id = 'ada'`)

			return err
		})
		fmt.Println(outcome, err)
	}
	fmt.Println("balance:", balance(ctx, pool))
	// Output:
	// processed <nil>
	// already processed <nil>
	// balance: 10
}

// Business logic that is only statements travels with the claim and the COMMIT in one round trip.
func ExampleGuard_ExecIfNew() {
	ctx := context.Background()
	pool, done := connect()
	defer done()
	guard, err := idem.New(pool, idem.Config{Consumer: "payments"})
	if err != nil {
		fmt.Println(err)

		return
	}

	pay := func(b *pgx.Batch) error {
		b.Queue(`UPDATE accounts SET balance = balance + $1 WHERE id = $2`, 10, "ada")
		b.Queue(`SELECT pg_notify('payments', $1)`, "ada")

		return nil
	}
	for range 2 {
		outcome, err := guard.ExecIfNew(ctx, "payment-4711", pay)
		fmt.Println(outcome, err)
	}
	fmt.Println("balance:", balance(ctx, pool))
	// Output:
	// processed <nil>
	// already processed <nil>
	// balance: 10
}

// A handler that fails leaves nothing behind, and the event can be processed later.
func ExampleHandlerError() {
	ctx := context.Background()
	pool, done := connect()
	defer done()
	guard, err := idem.New(pool, idem.Config{Consumer: "payments"})
	if err != nil {
		fmt.Println(err)

		return
	}

	errLimit := errors.New("the daily limit is reached")
	limit := 5
	pay := func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `UPDATE accounts SET balance = balance + 10 WHERE id = 'ada'`); err != nil {
			return err
		}
		if limit < 10 {
			return errLimit
		}

		return nil
	}

	_, err = guard.ProcessIfNew(ctx, "payment-4711", pay)
	var failed *idem.HandlerError
	switch {
	case idem.IsTransient(err):
		fmt.Println("the infrastructure is to blame: try again later")
	case errors.As(err, &failed):
		fmt.Println(failed.EventID, "failed, limit reached:", errors.Is(err, errLimit))
	}
	fmt.Println("balance:", balance(ctx, pool))

	limit = 20
	outcome, err := guard.ProcessIfNew(ctx, "payment-4711", pay)
	fmt.Println(outcome, err)
	fmt.Println("balance:", balance(ctx, pool))
	// Output:
	// payment-4711 failed, limit reached: true
	// balance: 0
	// processed <nil>
	// balance: 10
}

// A service that has a transaction already claims the event in it.
func ExampleGuard_ClaimTx() {
	ctx := context.Background()
	pool, done := connect()
	defer done()
	guard, err := idem.New(pool, idem.Config{Consumer: "payments"})
	if err != nil {
		fmt.Println(err)

		return
	}
	if err := guard.Register(ctx); err != nil { // once, at start-up
		fmt.Println(err)

		return
	}

	pay := func(eventID string) error {
		return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			claim, err := guard.ClaimTx(ctx, tx, eventID)
			if err != nil || !claim.New {
				return err
			}
			_, err = tx.Exec(ctx, `UPDATE accounts SET balance = balance + 10 WHERE id = 'ada'`)

			return err
		})
	}
	fmt.Println(pay("payment-4711"), pay("payment-4711"))
	fmt.Println("balance:", balance(ctx, pool))
	// Output:
	// <nil> <nil>
	// balance: 10
}

// Events that another system has processed are marked, so that they do not run again; those
// that are to run again are forgotten.
func ExampleGuard_MarkProcessed() {
	ctx := context.Background()
	pool, done := connect()
	defer done()
	guard, err := idem.New(pool, idem.Config{Consumer: "payments"})
	if err != nil {
		fmt.Println(err)

		return
	}

	fmt.Println(guard.MarkProcessed(ctx, "payment-4711"))
	fmt.Println(guard.IsProcessed(ctx, "payment-4711"))
	fmt.Println(guard.Forget(ctx, "payment-4711"))
	fmt.Println(guard.IsProcessed(ctx, "payment-4711"))
	// Output:
	// processed <nil>
	// true <nil>
	// 1 <nil>
	// false <nil>
}

func ExampleGuard_Lookup() {
	ctx := context.Background()
	pool, done := connect()
	defer done()
	guard, err := idem.New(pool, idem.Config{Consumer: "payments"})
	if err != nil {
		fmt.Println(err)

		return
	}

	_, err = guard.Lookup(ctx, "payment-4711")
	fmt.Println(errors.Is(err, idem.ErrNotFound))
	if _, err := guard.MarkProcessed(ctx, "payment-4711"); err != nil {
		fmt.Println(err)
	}
	record, err := guard.Lookup(ctx, "payment-4711")
	fmt.Println(record.EventID, time.Since(record.ProcessedAt) < time.Minute, err)
	// Output:
	// true
	// payment-4711 true <nil>
}

// Metadata tell people later where an event came from.
func ExampleWithMetadata() {
	ctx := context.Background()
	pool, done := connect()
	defer done()
	guard, err := idem.New(pool, idem.Config{Consumer: "payments"})
	if err != nil {
		fmt.Println(err)

		return
	}

	_, err = guard.ProcessIfNew(ctx, "payment-4711", func(context.Context, pgx.Tx) error { return nil },
		idem.WithMetadata(idem.Metadata{Topic: "payments", Partition: 3, Offset: 42}))
	if err != nil {
		fmt.Println(err)
	}
	record, err := guard.Lookup(ctx, "payment-4711")
	fmt.Println(string(record.Metadata), err)
	// Output:
	// {"topic": "payments", "offset": 42, "partition": 3} <nil>
}

// A service runs a cleaner in the background for as long as it lives.
func ExampleCleaner_Run() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	pool, done := connect()
	defer done()

	cleaner, err := idem.NewCleaner(pool, idem.CleanerConfig{Interval: time.Hour})
	if err != nil {
		fmt.Println(err)

		return
	}
	stopped := make(chan error)
	go func() { stopped <- cleaner.Run(ctx) }()

	// … the service works …
	stop()
	fmt.Println("stopped:", <-stopped)
	// Output:
	// stopped: <nil>
}

// A service that has a scheduler of its own calls for one pass at a time.
func ExampleGuard_CleanupOldEvents() {
	ctx := context.Background()
	pool, done := connect()
	defer done()
	guard, err := idem.New(pool, idem.Config{Consumer: "payments", Retention: 30 * 24 * time.Hour})
	if err != nil {
		fmt.Println(err)

		return
	}

	if _, err := guard.MarkProcessed(ctx, "payment-4711"); err != nil {
		fmt.Println(err)
	}
	report, err := guard.CleanupOldEvents(ctx) // Nothing is 30 days old yet.
	fmt.Println(report.Deleted, report.Complete, err)
	// Output:
	// 0 true <nil>
}

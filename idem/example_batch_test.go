package idem_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
)

// pay books payments of 10 each, and refuses those that are broken.
func pay(ctx context.Context, tx pgx.Tx, fresh []idem.BatchEvent) error {
	for i, event := range fresh {
		if event.Data == "broken" {
			return &idem.EventError{Index: i, Err: errors.New("unknown currency")}
		}
	}
	_, err := tx.Exec(ctx, `UPDATE accounts SET balance = balance + $1 WHERE id = 'ada'`, 10*len(fresh))

	return err
}

// A batch has the effect of its events one by one: duplicates count once, and an event that
// cannot be processed does not keep the others from it.
func ExampleGuard_ProcessBatch() {
	ctx := context.Background()
	pool, done := connect()
	defer done()
	guard, err := idem.New(pool, idem.Config{Consumer: "payments"})
	if err != nil {
		fmt.Println(err)

		return
	}

	results, err := guard.ProcessBatch(ctx, []idem.BatchEvent{
		{ID: "payment-1"}, {ID: "payment-2"}, {ID: "payment-1"}, {ID: "payment-3", Data: "broken"}, {ID: "payment-4"},
	}, pay)
	for _, result := range results {
		fmt.Println(result.Outcome, result.Err != nil)
	}
	fmt.Println(err, "balance:", balance(ctx, pool))
	// Output:
	// processed false
	// processed false
	// already processed false
	// none true
	// processed false
	// <nil> balance: 30
}

// The checkpoint of a partition outlives the event ids, and only its latest owner can advance it.
func ExampleGuard_Acquire() {
	ctx := context.Background()
	pool, done := connect()
	defer done()
	guard, err := idem.New(pool, idem.Config{Consumer: "payments"})
	if err != nil {
		fmt.Println(err)

		return
	}
	partition := idem.Partition{Topic: "orders", Number: 3}
	process := func(w *idem.Owner, offset int64) {
		results, err := guard.ProcessBatchAt(ctx, w, []idem.BatchEvent{{Offset: offset}}, pay)
		if errors.Is(err, idem.ErrFenced) {
			fmt.Println(offset, "fenced")
		} else {
			fmt.Println(offset, results[0].Outcome)
		}
	}

	former, err := guard.Acquire(ctx, partition, idem.AcquireOptions{Patience: time.Second})
	if err != nil {
		fmt.Println(err)

		return
	}
	process(former, 41)
	process(former, 41)
	owner, err := guard.Acquire(ctx, partition, idem.AcquireOptions{Patience: time.Second}) // After a rebalance, in another process.
	if err != nil {
		fmt.Println(err)

		return
	}
	fmt.Println("goes on at", owner.Next())
	process(former, 42)
	process(owner, 42)
	fmt.Println("balance:", balance(ctx, pool))
	// Output:
	// 41 processed
	// 41 already processed
	// goes on at 42
	// 42 fenced
	// 42 processed
	// balance: 20
}

// A record that cannot be processed is stored, and its event counts as processed. Once somebody
// wants it replayed ("idemctl deadletter replay") it is processed in the transaction that resolves it.
func ExampleGuard_StoreDeadLetter() {
	ctx := context.Background()
	pool, done := connect()
	defer done()
	guard, err := idem.New(pool, idem.Config{Consumer: "payments"})
	if err != nil {
		fmt.Println(err)

		return
	}
	partition := idem.Partition{Topic: "orders", Number: 3}
	fmt.Println(guard.StoreDeadLetter(ctx, idem.DeadLetter{
		Partition: partition, Offset: 42, EventID: "payment-4711", Value: []byte(`{"amount": 10}`), Attempts: 5, Error: "unknown currency",
	}))
	fmt.Println(guard.IsProcessed(ctx, "payment-4711"))

	if _, err := pool.Exec(ctx, `UPDATE idem.dead_letters SET state = 'replay'`); err != nil { // idemctl deadletter replay
		fmt.Println(err)

		return
	}
	letter, err := guard.NextDeadLetter(ctx, partition)
	if err != nil {
		fmt.Println(err)

		return
	}
	for range 2 {
		fmt.Println(guard.ReplayDeadLetter(ctx, letter, func(ctx context.Context, tx pgx.Tx) error {
			return pay(ctx, tx, make([]idem.BatchEvent, 1))
		}))
	}
	fmt.Println("balance:", balance(ctx, pool))
	// Output:
	// processed <nil>
	// true <nil>
	// processed <nil>
	// already processed <nil>
	// balance: 10
}

package idem_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
)

// payOne books a payment of 10.
func payOne(ctx context.Context, tx pgx.Tx) error { return pay(ctx, tx, make([]idem.Event, 1)) }

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
	process := func(o *idem.Owner, offset int64) {
		outcome, err := o.Process(ctx, idem.Event{ID: fmt.Sprint("payment-", offset), Offset: offset}, payOne)
		if errors.Is(err, idem.ErrFenced) {
			fmt.Println(offset, "fenced")
		} else {
			fmt.Println(offset, outcome, err)
		}
	}

	former, err := guard.Acquire(ctx, partition, idem.AcquireOptions{Patience: time.Second})
	if err != nil {
		fmt.Println(err)

		return
	}
	process(former, 41)
	if _, err := guard.Forget(ctx, "payment-41"); err != nil { // As a cleanup does.
		fmt.Println(err)
	}
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
	// 41 processed <nil>
	// 41 already processed <nil>
	// goes on at 42
	// 42 fenced
	// 42 processed <nil>
	// balance: 20
}

// A consumer without checkpoints works in the same way. Its records are known by their event ids alone.
func ExampleGuard_Unfenced() {
	ctx := context.Background()
	pool, done := connect()
	defer done()
	guard, err := idem.New(pool, idem.Config{Consumer: "payments"})
	if err != nil {
		fmt.Println(err)

		return
	}

	owner := guard.Unfenced(idem.Partition{Topic: "orders", Number: 3})
	fmt.Println(owner.Process(ctx, idem.Event{ID: "payment-4711", Offset: 41}, payOne))
	fmt.Println(owner.Process(ctx, idem.Event{ID: "payment-4711", Offset: 42}, payOne))
	fmt.Println(owner.Advance(ctx, 43), owner.Next())
	fmt.Println("balance:", balance(ctx, pool))
	// Output:
	// processed <nil>
	// already processed <nil>
	// <nil> 0
	// balance: 10
}

// A record without an event id is known by its place. Nothing is stored for it but the checkpoint. That an
// id is missing by mistake is an error.
func ExampleOwner_Process() {
	ctx := context.Background()
	pool, done := connect()
	defer done()
	guard, err := idem.New(pool, idem.Config{Consumer: "payments"})
	if err != nil {
		fmt.Println(err)

		return
	}
	owner, err := guard.Acquire(ctx, idem.Partition{Topic: "orders", Number: 3}, idem.AcquireOptions{})
	if err != nil {
		fmt.Println(err)

		return
	}

	for range 2 {
		fmt.Println(owner.Process(ctx, idem.Event{ByCheckpoint: true, Offset: 0}, payOne))
	}
	fmt.Println(owner.Process(ctx, idem.Event{Offset: 1}, payOne))
	fmt.Println("balance:", balance(ctx, pool))
	// Output:
	// processed <nil>
	// already processed <nil>
	// none idem: invalid event id: it is empty
	// balance: 10
}

// One transaction for a batch of records, which advances the checkpoint over them. It stops before a record
// that cannot be processed.
func ExampleOwner_ProcessBatch() {
	ctx := context.Background()
	pool, done := connect()
	defer done()
	guard, err := idem.New(pool, idem.Config{Consumer: "payments"})
	if err != nil {
		fmt.Println(err)

		return
	}
	owner, err := guard.Acquire(ctx, idem.Partition{Topic: "orders", Number: 3}, idem.AcquireOptions{})
	if err != nil {
		fmt.Println(err)

		return
	}

	results, err := owner.ProcessBatch(ctx, []idem.Event{
		{ID: "payment-1", Offset: 0}, {ID: "payment-2", Offset: 1}, {ID: "payment-3", Offset: 2, Data: "broken"}, {ID: "payment-4", Offset: 3},
	}, pay)
	for _, result := range results {
		fmt.Println(result.Outcome, result.Err != nil)
	}
	fmt.Println(err, "goes on at", owner.Next(), "balance:", balance(ctx, pool))
	// Output:
	// processed false
	// processed false
	// none true
	// none false
	// <nil> goes on at 2 balance: 20
}

// A record that cannot be processed is stored, and its event counts as processed. Once somebody
// wants it replayed ("idemctl deadletter replay") it is processed in the transaction that resolves it.
func ExampleOwner_StoreDeadLetter() {
	ctx := context.Background()
	pool, done := connect()
	defer done()
	guard, err := idem.New(pool, idem.Config{Consumer: "payments"})
	if err != nil {
		fmt.Println(err)

		return
	}
	owner, err := guard.Acquire(ctx, idem.Partition{Topic: "orders", Number: 3}, idem.AcquireOptions{})
	if err != nil {
		fmt.Println(err)

		return
	}
	fmt.Println(owner.StoreDeadLetter(ctx, idem.DeadLetter{
		Offset: 42, EventID: "payment-4711", Value: []byte(`{"amount": 10}`), Attempts: 5, Error: "unknown currency",
	}))
	fmt.Println("goes on at", owner.Next())

	if _, err := pool.Exec(ctx, `UPDATE idem.dead_letters SET state = 'replay'`); err != nil { // idemctl deadletter replay
		fmt.Println(err)

		return
	}
	letter, err := owner.NextDeadLetter(ctx)
	if err != nil {
		fmt.Println(err)

		return
	}
	for range 2 {
		fmt.Println(owner.Replay(ctx, letter, payOne))
	}
	fmt.Println("balance:", balance(ctx, pool))
	// Output:
	// processed <nil>
	// goes on at 43
	// processed <nil>
	// already processed <nil>
	// balance: 10
}

// Lanes process the records of a partition side by side, each its own ones in their order.
func ExampleOwner_Lanes() {
	ctx := context.Background()
	pool, done := connect()
	defer done()
	guard, err := idem.New(pool, idem.Config{Consumer: "payments"})
	if err != nil {
		fmt.Println(err)

		return
	}
	owner, err := guard.Acquire(ctx, idem.Partition{Topic: "orders", Number: 3}, idem.AcquireOptions{})
	if err != nil {
		fmt.Println(err)

		return
	}

	lanes, err := owner.Lanes(ctx, 2)
	if err != nil {
		fmt.Println(err)

		return
	}
	fmt.Println(lanes[1].Process(ctx, idem.Event{ID: "payment-2", Offset: 1}, payOne))
	fmt.Println(lanes[0].Process(ctx, idem.Event{ID: "payment-1", Offset: 0}, payOne))
	fmt.Println(owner.Advance(ctx, 2), owner.Next(), "balance:", balance(ctx, pool))
	// Output:
	// processed <nil>
	// processed <nil>
	// <nil> 2 balance: 20
}

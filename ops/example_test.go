package ops_test

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/ops"
)

// connect stands for the pgxpool.New of a program whose database has the guard's tables ("idemctl migrate
// up"). The consumer payments has processed two events and a half of a partition, and failed at one record.
func connect() (pool *pgxpool.Pool, done func()) {
	return pgtest.Example(`
		INSERT INTO idem.consumers (id, name, retention) VALUES (idem.consumer_id('payments'), 'payments', '7 days');
		INSERT INTO idem.processed_events (consumer_id, key, claim_id, event_id)
			SELECT idem.consumer_id('payments'), idem.event_key(e), pg_catalog.gen_random_uuid(), e FROM (VALUES ('p-1'), ('p-2')) v(e);
		INSERT INTO idem.checkpoints (consumer_id, topic, partition, next_offset) VALUES (idem.consumer_id('payments'), 'orders', 0, 1200);
		INSERT INTO idem.dead_letters (consumer_id, id, key, topic_id, topic, record_partition, record_offset, attempts, error)
			VALUES (idem.consumer_id('payments'), '0199c2a4-0000-7000-8000-000000000000', idem.event_key('p-3'), idem.event_key('orders'), 'orders', 0, 42, 5, 'connection refused')`)
}

// What failed because of an outage is processed again when that is over.
func ExampleClient_ReplayDeadLetters() {
	ctx := context.Background()
	pool, done := connect()
	defer done()

	client, err := ops.New(pool, ops.Config{})
	if err != nil {
		fmt.Println(err)

		return
	}
	plan, err := client.PlanReplay(ctx, ops.DeadLetterChoice{Filter: ops.DeadLetterFilter{Consumer: "payments", Error: "connection refused"}})
	if err != nil {
		fmt.Println(err)

		return
	}
	for _, letter := range plan.DeadLetters {
		fmt.Println(letter.ShortID, letter.Topic, letter.Offset, letter.Error)
	}
	change, err := client.ReplayDeadLetters(ctx, plan, nil) // After somebody said yes.
	fmt.Println(change.Changed, "to be processed again", err)
	// Output:
	// 0199c2a4 orders 42 connection refused
	// 1 to be processed again <nil>
}

// A consumer reads a partition again from an offset.
func ExampleClient_ResetCheckpoints() {
	ctx := context.Background()
	pool, done := connect()
	defer done()

	client, err := ops.New(pool, ops.Config{})
	if err != nil {
		fmt.Println(err)

		return
	}
	partition := int32(0)
	plan, err := client.PlanReset(ctx, ops.CheckpointTarget{Consumer: "payments", Topic: "orders", Partition: &partition, NextOffset: 1000})
	if err != nil {
		fmt.Println(err)

		return
	}
	fmt.Println(plan.Back(), "back,", plan.Forward(), "forward")
	reset, err := client.ResetCheckpoints(ctx, plan)
	fmt.Println(reset.Partitions[0].PreviousOffset, "→", reset.Partitions[0].NextOffset, err)
	// Output:
	// 1 back, 0 forward
	// 1200 → 1000 <nil>
}

// A consumer gets another name and keeps what it remembers. Nothing may run under either name meanwhile.
func ExampleClient_RenameConsumer() {
	ctx := context.Background()
	pool, done := connect()
	defer done()

	client, err := ops.New(pool, ops.Config{})
	if err != nil {
		fmt.Println(err)

		return
	}
	renamed, err := client.RenameConsumer(ctx, "payments", "billing", ops.ChangeOptions{
		Watch:    1, // Next to nothing, because nobody runs here.
		Progress: func(rows, total int64) { fmt.Println(rows, "of", total) },
	})
	fmt.Println(renamed.Events, renamed.Checkpoints, renamed.DeadLetters, renamed.Complete, err)
	// Output:
	// 2 of 3
	// 3 of 3
	// 2 1 1 true <nil>
}

// A health check looks at what waits for somebody.
func ExampleClient_Status() {
	ctx := context.Background()
	pool, done := connect()
	defer done()

	client, err := ops.New(pool, ops.Config{})
	if err != nil {
		fmt.Println(err)

		return
	}
	if err := client.Check(ctx); err != nil { // Are there tables, and are they new enough?
		fmt.Println(err)

		return
	}
	status, err := client.Status(ctx)
	fmt.Println(status.State, status.Events, status.OpenDeadLetters, status.Advice, err)
	// Output:
	// current 2 1 [] <nil>
}

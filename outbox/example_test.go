package outbox_test

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/outbox"
)

// A record comes to Kafka if and only if its transaction commits. (The producer of this example prints; use that of
// kafkaadapter or franzadapter.)
func Example() {
	ctx, stop := context.WithCancel(context.Background())
	pool, done := pgtest.Example("")
	defer done()
	for _, fails := range []bool{true, false} {
		_ = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			if err := outbox.Publish(ctx, tx, outbox.Record{Topic: "debits", Key: []byte("alice"), Value: fmt.Append(nil, "fails: ", fails)}); err != nil {
				return err
			}
			if fails {
				return context.Canceled // Anything: the transaction rolls back.
			}

			return nil
		})
	}
	relay, err := outbox.NewRelay(pool, printer{stop}, outbox.Config{})
	if err != nil {
		fmt.Println(err)
	}
	if err := relay.Run(ctx); err != nil {
		fmt.Println(err)
	}
	// Output: debits/alice: fails: false
}

// printer prints what it gets, and stops.
type printer struct{ stop func() }

func (p printer) Produce(_ context.Context, records []outbox.Record) []error {
	for _, r := range records {
		fmt.Printf("%s/%s: %s\n", r.Topic, r.Key, r.Value)
	}
	p.stop()

	return nil
}

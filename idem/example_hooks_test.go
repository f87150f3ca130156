package idem_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nova-events/idempotent-consumer/idem"
)

// startKey is where hooks keep the time when a call began.
type startKey struct{}

// Begin puts into the context what End wants to have: the start for a histogram, as here, or a span.
func ExampleHooks() {
	ctx := context.Background()
	pool, done := connect()
	defer done()
	guard, err := idem.New(pool, idem.Config{
		Consumer: "payments",
		Hooks: idem.Hooks{
			Process: idem.Hook[idem.Op, idem.ProcessEnd]{
				Begin: func(ctx context.Context, _ idem.Op) context.Context {
					return context.WithValue(ctx, startKey{}, time.Now())
				},
				End: func(ctx context.Context, op idem.Op, end idem.ProcessEnd) {
					start, ok := ctx.Value(startKey{}).(time.Time)
					fmt.Println(op.Kind, op.EventID, end.Outcome, end.Err, ok && time.Since(start) > 0)
				},
			},
			Handler: idem.Hook[idem.Op, idem.HandlerEnd]{
				End: func(_ context.Context, op idem.Op, end idem.HandlerEnd) {
					fmt.Println("handler of", op.EventID, end.Err)
				},
			},
		},
	})
	if err != nil {
		fmt.Println(err)

		return
	}

	for range 2 {
		if _, err := guard.ProcessIfNew(ctx, "payment-4711", payOne); err != nil {
			fmt.Println(err)
		}
	}
	if _, err := guard.MarkProcessed(ctx, "payment-4712"); err != nil {
		fmt.Println(err)
	}
	if _, err := guard.ProcessIfNew(ctx, "", payOne); !errors.Is(err, idem.ErrInvalidEventID) { // It is refused before anything begins.
		fmt.Println(err)
	}
	// Output:
	// handler of payment-4711 <nil>
	// process payment-4711 processed <nil> true
	// process payment-4711 already processed <nil> true
	// mark payment-4712 processed <nil> true
}

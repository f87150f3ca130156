package idem_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
)

// pay books payments of 10 each, and refuses those that are broken.
func pay(ctx context.Context, tx pgx.Tx, fresh []idem.Event) error {
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

	results, err := guard.ProcessBatch(ctx, []idem.Event{
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

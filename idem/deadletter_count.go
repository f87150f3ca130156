package idem

import (
	"context"

	"github.com/nova-events/idempotent-consumer/db"
)

// MaxDeadLetters is as far as UnresolvedDeadLetters counts.
const MaxDeadLetters = 10_000

// UnresolvedDeadLetters counts the consumer's dead letters that are not resolved: those that are open, and those that
// wait behind them or for their replay. It stops at MaxDeadLetters, so that it can be called every few seconds.
func (g *Guard) UnresolvedDeadLetters(ctx context.Context) (n int64, err error) {
	err = g.onPool(ctx, func(conn db.DBTX) error {
		n, err = g.queries.DeadLetterCountUnresolved(ctx, conn, db.DeadLetterCountUnresolvedParams{ConsumerID: g.consumer, Most: MaxDeadLetters})

		return err
	})

	return n, err
}

package idem

import (
	"context"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/internal/tables"
)

// FillDeadLetter stores the record of a requested dead letter when it has been read from the log:
// time, key, value and headers.
func (o *Owner) FillDeadLetter(ctx context.Context, letter DeadLetter) error {
	params := db.DeadLetterFillParams{
		ID: letter.ID, RecordTime: timestamptz(letter.Time), RecordKey: letter.Key, RecordValue: letter.Value,
	}
	params.HeaderKeys, params.HeaderValues = headerArrays(letter.Headers)

	return o.onPool(ctx, func(g *Guard, conn db.DBTX) error {
		params.ConsumerID = g.consumer

		return g.queries.DeadLetterFill(ctx, conn, params)
	})
}

// ExpireDeadLetter resolves a requested dead letter whose record is not in the log, or has another one in its place. The
// reason is stored.
func (o *Owner) ExpireDeadLetter(ctx context.Context, letter DeadLetter, reason error) error {
	return o.onPool(ctx, func(g *Guard, conn db.DBTX) error {
		return g.queries.DeadLetterExpire(ctx, conn, db.DeadLetterExpireParams{ConsumerID: g.consumer, ID: letter.ID, Error: tables.CleanText(reason.Error())})
	})
}

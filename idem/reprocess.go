package idem

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/nova-events/idempotent-consumer/db"
)

var (
	// ErrNotProcessed is returned by RequestRecord for a record that the partition's checkpoint has not
	// reached: it is going to be processed anyway.
	ErrNotProcessed = errors.New("idem: the record is not processed yet")

	// ErrRequested is returned by RequestRecord when the record has an unresolved dead letter already, or
	// was asked for: replay that one.
	ErrRequested = errors.New("idem: the record has an unresolved dead letter")
)

// RequestRecord asks the owner of a partition to read a record from the log again and to process it,
// whoever has claimed its event. It returns the id of the dead letter that stands for it: replayed once
// that has happened, open if it fails, expired if the log no longer has the record. Order is not kept:
// the records behind it have been processed.
func (g *Guard) RequestRecord(ctx context.Context, p Partition, offset int64) (uuid.UUID, error) {
	if p.Topic == "" || p.Number < 0 || offset < 0 {
		return uuid.Nil, fmt.Errorf("%w: RequestRecord needs a topic, a partition and an offset that are not negative", ErrInvalidConfig)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return uuid.Nil, fmt.Errorf("idem: make the id of a dead letter: %w", err)
	}
	err = g.onTx(ctx, func(conn db.DBTX) error {
		next, err := g.queries.CheckpointNext(ctx, conn, db.CheckpointNextParams{ConsumerID: g.consumer, Topic: p.Topic, Partition: p.Number})
		switch {
		case err != nil:
			return err //nolint:wrapcheck // onTx wraps it.
		case len(next) > 0 && offset >= next[0]:
			return fmt.Errorf("%w: the checkpoint of %v is at %d", ErrNotProcessed, p, next[0])
		}
		known, err := g.queries.DeadLetterAt(ctx, conn, db.DeadLetterAtParams{
			ConsumerID: g.consumer, Topic: p.Topic, RecordPartition: p.Number, RecordOffset: offset,
		})
		switch {
		case err != nil:
			return err //nolint:wrapcheck // onTx wraps it.
		case len(known) > 0:
			return fmt.Errorf("%w: %v", ErrRequested, known[0])
		}

		n, err := g.queries.DeadLetterRequest(ctx, conn, db.DeadLetterRequestParams{
			ConsumerID: g.consumer, ID: id, Topic: p.Topic, RecordPartition: p.Number, RecordOffset: offset,
		})
		if err == nil && n == 0 {
			err = ErrRequested
		}

		return err
	})
	if err != nil {
		return uuid.Nil, err
	}

	return id, nil
}

// FillDeadLetter stores the record that a requested dead letter stands for, once it has been read from
// the log: time, key, value and headers.
func (g *Guard) FillDeadLetter(ctx context.Context, letter DeadLetter) error {
	params := db.DeadLetterFillParams{
		ConsumerID: g.consumer, ID: letter.ID, RecordTime: timestamptz(letter.Time), RecordKey: letter.Key, RecordValue: letter.Value,
	}
	params.HeaderKeys, params.HeaderValues = headerArrays(letter.Headers)

	return g.onPool(ctx, func(conn db.DBTX) error {
		return g.queries.DeadLetterFill(ctx, conn, params)
	})
}

// ExpireDeadLetter resolves a requested dead letter whose record is not in the log, for that reason.
func (g *Guard) ExpireDeadLetter(ctx context.Context, letter DeadLetter, reason error) error {
	return g.onPool(ctx, func(conn db.DBTX) error {
		return g.queries.DeadLetterExpire(ctx, conn, db.DeadLetterExpireParams{ConsumerID: g.consumer, ID: letter.ID, Error: cleanText(reason.Error())})
	})
}

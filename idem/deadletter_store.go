package idem

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/db"
)

// ErrNotParked is returned by Owner.StoreDeadLetter for a record that is to be parked if its key
// has no earlier dead letter that is unresolved. Nothing was committed: process the record.
var ErrNotParked = errors.New("idem: no dead letter of the record's key is unresolved, process the record")

// StoreDeadLetter marks the event of a record of the partition as processed, stores the record and advances
// the checkpoint over it, in one transaction: it is not delivered again, and not lost. An event id that
// is not valid counts as none; the record is then marked by its place and content. If the event was
// processed before, nothing is stored. Errors are as with Process.
//
// A dead letter in state DeadLetterParked waits for those of its key and topic with smaller offsets. If
// there are none, the error is ErrNotParked.
func (o *Owner) StoreDeadLetter(ctx context.Context, letter DeadLetter, opts ...BatchOption) (Outcome, error) {
	if err := o.check(); err != nil {
		return 0, err
	}
	letter.Partition = o.partition
	if CheckEventID(letter.EventID) != nil {
		letter.EventID = ""
	}
	if letter.State == "" {
		letter.State = DeadLetterOpen
	}
	e := Event{ID: letter.eventID(), Offset: max(letter.Offset, letter.LastOffset), Fingerprint: letter.Fingerprint}
	c, err := newRecordCall(ctx, o, OpStoreDeadLetter, e, opts)
	switch {
	case err != nil:
		return 0, err
	case !letter.Partition.ofRecord():
		return 0, fmt.Errorf("%w: a dead letter needs the topic of its record and a partition that is not negative", ErrInvalidConfig)
	case letter.State != DeadLetterOpen && letter.State != DeadLetterParked:
		return 0, fmt.Errorf("%w: a dead letter is stored open or parked, not %s", ErrInvalidConfig, letter.State)
	case letter.State == DeadLetterParked && letter.Key == nil:
		return 0, fmt.Errorf("%w: a record without a key cannot be parked", ErrInvalidConfig)
	}
	if letter.ID == uuid.Nil {
		if letter.ID, err = uuid.NewV7(); err != nil {
			return 0, fmt.Errorf("idem: make the id of a dead letter: %w", err)
		}
	}
	g := o.guard
	params := letter.insertParams(g.consumer, c)
	outcome, err := g.process(ctx, c, func(ctx context.Context, tx pgx.Tx) error {
		conn := g.names.on(tx)
		if letter.State == DeadLetterParked {
			n, err := g.queries.DeadLetterParkBehind(ctx, conn, db.DeadLetterParkBehindParams{
				ConsumerID: g.consumer, Topic: letter.Partition.Topic, RecordPartition: letter.Partition.Number, TopicID: letter.Partition.TopicID,
				KeyHash: params.KeyHash, RecordOffset: letter.Offset,
			})
			switch {
			case err != nil:
				return fmt.Errorf("look for the dead letter in front: %w", explain(err))
			case n == 0:
				return ErrNotParked
			}
		}
		if err := g.queries.DeadLetterInsert(ctx, conn, params); err != nil {
			return fmt.Errorf("store the dead letter: %w", explain(err))
		}

		return nil
	})
	if errors.Is(err, ErrNotParked) {
		return 0, ErrNotParked
	}

	return outcome, err
}

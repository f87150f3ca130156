package idem

import (
	"context"
	"fmt"
)

// Process runs fn for a record of the partition unless the record was processed before, as
// Guard.ProcessIfNew does for an event. The same transaction claims the event and advances the checkpoint
// over the record. A record before the checkpoint is AlreadyProcessed, whether its event id is known
// or not. The error is ErrFenced if another owner has acquired the partition, ErrRewound if the
// database has lost what this one had committed, and ErrCheckpointGone if it has no checkpoint any more.
//
// Process the records in their order. A record whose event id is known does not move the
// checkpoint: a later record, or Advance, moves it over the duplicate, which therefore costs no
// COMMIT.
//
// For an unfenced owner it is Guard.ProcessIfNew.
func (o *Owner) Process(ctx context.Context, e Event, fn Handler, opts ...RecordOption) (Outcome, error) {
	c, err := newRecordCall(ctx, o, OpProcess, e, opts)
	if err != nil {
		return 0, err
	}

	return o.guard.process(ctx, c, fn)
}

// ProcessBatch is Guard.ProcessBatch for records of the partition, in the order of their offsets: the
// same transaction advances the checkpoint over them. It stops at the first event that cannot be
// processed, because the checkpoint must not go beyond that event. Handle the event (with
// StoreDeadLetter, for instance) and call ProcessBatch again with the events after it. Errors are as
// with Process.
//
// For an unfenced owner it stops there too, and advances nothing.
func (o *Owner) ProcessBatch(ctx context.Context, events []Event, fn BatchHandler, opts ...BatchOption) ([]BatchResult, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	for i := range events {
		if i > 0 && events[i].Offset <= events[i-1].Offset {
			return nil, fmt.Errorf("%w: offset %d comes after %d", ErrInvalidConfig, events[i].Offset, events[i-1].Offset)
		}
		if err := checkOffset(events[i].Offset); err != nil {
			return nil, err
		}
	}

	return o.guard.processBatch(ctx, o, events, fn, opts)
}

// newRecordCall returns a call that claims an event by its id and place.
func newRecordCall[O ProcessOption](ctx context.Context, o *Owner, kind OpKind, e Event, opts []O) (call, error) {
	if err := o.check(); err != nil {
		return call{}, err
	}
	if err := checkOffset(e.Offset); err != nil {
		return call{}, err
	}
	metadata, err := e.validate(o.fenced())
	if err != nil {
		return call{}, err
	}
	if err := o.guard.notWithin(ctx, e.ID); err != nil {
		return call{}, err
	}
	c, err := newOptions(o.guard, kind, opts)
	c.eventID, c.metadata, c.fingerprint = e.name(o.partition), metadata, e.Fingerprint
	if e.ByCheckpoint {
		c.fingerprint, c.alone = 0, 1
	} else {
		c.key = Key(e.ID)
	}
	c.at(o, e.Offset)

	return c, err
}

// at ties a call to the record at an offset of the owner's partition.
func (c *call) at(o *Owner, offset int64) {
	c.partition, c.acquired, c.offset, c.next = o.partition, &o.acquired, offset, offset+1
	if o.fenced() {
		c.owner, c.advances = o, true
	}
}

func checkOffset(offset int64) error {
	if offset < 0 {
		return fmt.Errorf("%w: the offset is negative (%d)", ErrInvalidConfig, offset)
	}

	return nil
}

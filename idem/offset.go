package idem

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/db"
)

// WithWatermark ties the call to a record of a partition: the same transaction advances the
// watermark over the record. A record before the watermark is AlreadyProcessed, whether its
// event id is known or not. The error is ErrFenced if w is no longer the partition's owner.
//
// Records must come in their order. One whose event id is known leaves the watermark where it
// is until a later one, or Advance, takes it along: a duplicate costs no COMMIT.
func WithWatermark(w *Watermark, offset int64) Option {
	return func(o *options) error {
		if w == nil || w.guard == nil {
			return fmt.Errorf("%w: the Watermark is not made by TakeOver", ErrInvalidConfig)
		}
		if offset < 0 {
			return fmt.Errorf("%w: the offset is negative (%d)", ErrInvalidConfig, offset)
		}
		o.watermark, o.offset, o.next, o.ownTransaction = w, offset, offset+1, true

		return nil
	}
}

// ProcessOffset is ProcessIfNew for a record without an event id: its place alone, by the
// watermark, tells whether it is processed. Nothing is stored for the record, so this is the
// cheapest way and forgets nothing; but a record that is produced twice is processed twice.
func (g *Guard) ProcessOffset(ctx context.Context, w *Watermark, offset int64, fn Handler, opts ...Option) (Outcome, error) {
	c, err := g.newCallAt(w, offset, opts)
	if err != nil {
		return 0, err
	}

	return g.process(ctx, c, fn)
}

func (g *Guard) newCallAt(w *Watermark, offset int64, opts []Option) (call, error) {
	if err := g.check(); err != nil {
		return call{}, err
	}
	c, err := g.newOptions(append(slices.Clip(opts), WithWatermark(w, offset)))
	switch {
	case err != nil:
		return call{}, err
	case c.metadata != "" || c.recordDuration:
		return call{}, fmt.Errorf("%w: nothing is stored for the record, so it can have no metadata", ErrInvalidConfig)
	}
	c.eventID = w.partition.place(offset)

	return c, nil
}

// claimAt is claim for a call with a watermark: the places come first, then the event ids. It
// runs the first statement on conn and, if the watermark was not advanced, another one on what
// rest returns, to find out why.
func (g *Guard) claimAt(ctx context.Context, conn db.DBTX, rest func() db.DBTX, consumer int32, c call) (claimed, error) {
	w := c.watermark
	if w.guard != g || w.consumer != consumer {
		return claimed{}, fmt.Errorf("%w: the Watermark was taken over by another Guard", ErrInvalidConfig)
	}
	keyed := c.keyed()
	rows, err := g.queries.OffsetClaim(ctx, conn, db.OffsetClaimParams{
		NextOffset: c.next, FirstOffset: c.offset,
		ConsumerID: consumer, Topic: w.partition.Topic, Partition: w.partition.Number, Epoch: w.epoch,
		ClaimID: c.claimID.String(), Keys: keyed.keys, EventIds: keyed.eventIDs, Metadata: keyed.metadata,
	})
	if err != nil {
		return claimed{}, fmt.Errorf("idem: claim: %w", explain(err))
	}
	if rows[0].Advanced {
		return claimed{place: true, count: int(rows[0].Claimed), part: rows[0].Part}, nil
	}

	next, err := g.lockOffset(ctx, rest(), w)
	if err == nil && next <= c.offset {
		// The row was neither behind nor ahead: somebody changed it between the statements.
		err = ErrFenced
	}

	return claimed{next: next}, err
}

// lockOffset returns where a watermark is, once a transaction that advances it has ended. While
// its owner is the latest, nobody else can have taken it there.
func (g *Guard) lockOffset(ctx context.Context, conn db.DBTX, w *Watermark) (int64, error) {
	row, err := g.queries.OffsetLock(ctx, conn, db.OffsetLockParams{
		ConsumerID: w.consumer, Topic: w.partition.Topic, Partition: w.partition.Number,
	})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return 0, ErrFenced
	case err != nil:
		return 0, fmt.Errorf("idem: read the watermark: %w", explain(err))
	case row.Epoch != w.epoch:
		return 0, ErrFenced
	}

	return row.NextOffset, nil
}

// probeOffset is probe for records without an event id.
func (g *Guard) probeOffset(ctx context.Context, c call) (Outcome, error) {
	var next int64
	err := g.onConn(ctx, func(conn db.DBTX) error {
		var err error
		next, err = g.lockOffset(ctx, conn, c.watermark)

		return err
	})
	switch {
	case err != nil:
		return 0, err
	case next >= c.next:
		return Processed, nil
	default:
		return 0, ErrNotFound
	}
}

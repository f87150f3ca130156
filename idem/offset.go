package idem

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
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
		o.watermark, o.offset, o.ownTransaction = w, offset, true

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
	c.eventID = fmt.Sprintf("%v/%d", w.partitionOrNone(), offset)

	return c, err
}

func (w *Watermark) partitionOrNone() Partition {
	if w == nil {
		return Partition{}
	}

	return w.partition
}

// claimAt is claim for a call with a watermark: the place comes first, then the event id. It
// runs the first statement on conn and, if the watermark was not advanced, another one on what
// rest returns, to find out why.
func (g *Guard) claimAt(ctx context.Context, conn db.DBTX, rest func() db.DBTX, consumer int32, c call) (bool, error) {
	w := c.watermark
	if w.guard != g || w.consumer != consumer {
		return false, fmt.Errorf("%w: the Watermark was taken over by another Guard", ErrInvalidConfig)
	}
	params := db.OffsetClaimParams{
		NextOffset: c.offset + 1, FirstOffset: c.offset,
		ConsumerID: consumer, Topic: w.partition.Topic, Partition: w.partition.Number, Epoch: w.epoch,
		ClaimID: c.claimID,
	}
	keyed := c.key != uuid.Nil
	if keyed {
		params.Keys, params.EventIds, params.Metadata = []string{c.key.String()}, []string{storedEventID(c.eventID)}, []string{c.metadata}
	}
	rows, err := g.queries.OffsetClaim(ctx, conn, params)
	if err != nil {
		return false, fmt.Errorf("idem: claim: %w", explain(err))
	}
	if rows[0].Advanced {
		return rows[0].Claimed == 1 || !keyed, nil
	}

	committed, err := g.committed(ctx, rest(), c)
	if err == nil && !committed {
		// The row was neither behind nor ahead: somebody changed it between the statements.
		err = ErrFenced
	}

	return false, err
}

// committed reports whether the watermark lies behind the call's record. While the call's
// owner is the latest, nobody else can have taken it there.
func (g *Guard) committed(ctx context.Context, conn db.DBTX, c call) (bool, error) {
	w := c.watermark
	row, err := g.queries.OffsetLock(ctx, conn, db.OffsetLockParams{
		ConsumerID: w.consumer, Topic: w.partition.Topic, Partition: w.partition.Number,
	})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return false, ErrFenced
	case err != nil:
		return false, fmt.Errorf("idem: read the watermark: %w", explain(err))
	case row.Epoch != w.epoch:
		return false, ErrFenced
	}

	return row.NextOffset > c.offset, nil
}

// probeOffset is probe for a record without an event id.
func (g *Guard) probeOffset(ctx context.Context, c call) (Outcome, error) {
	var committed bool
	err := g.onConn(ctx, func(conn db.DBTX) error {
		var err error
		committed, err = g.committed(ctx, conn, c)

		return err
	})
	switch {
	case err != nil:
		return 0, err
	case committed:
		return Processed, nil
	default:
		return 0, ErrNotFound
	}
}

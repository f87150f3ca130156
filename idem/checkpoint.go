package idem

import (
	"context"
	"fmt"
	"slices"

	"github.com/nova-events/idempotent-consumer/db"
)

// WithOwner ties the call to a record of a partition: the same transaction advances the checkpoint
// over the record. A record before the checkpoint is AlreadyProcessed, whether its event id is known
// or not. The error is ErrFenced if o is no longer the partition's owner, and ErrRewound if the
// database has lost what o had committed.
//
// Records must come in their order. One whose event id is known leaves the checkpoint where it
// is until a later one, or Advance, takes it along: a duplicate costs no COMMIT.
func WithOwner(o *Owner, offset int64) Option {
	return func(opts *options) error {
		if err := o.check(); err != nil {
			return err
		}
		if offset < 0 {
			return fmt.Errorf("%w: the offset is negative (%d)", ErrInvalidConfig, offset)
		}
		opts.owner, opts.advances, opts.offset, opts.next, opts.ownTransaction = o, true, offset, offset+1, true

		return nil
	}
}

// WithHold ties the call to a partition without advancing its checkpoint, for records that are
// processed out of their order: the event is claimed by its id alone, but only while o owns the
// partition (else ErrFenced), and another owner waits for the transaction, or ends it. Until its end the
// checkpoint stays where it is, but lanes go on.
func WithHold(o *Owner) Option {
	return func(opts *options) error {
		if err := o.check(); err != nil {
			return err
		}
		opts.owner, opts.advances, opts.ownTransaction = o, false, true

		return nil
	}
}

func (o *Owner) check() error {
	if o == nil || o.guard == nil {
		return fmt.Errorf("%w: the Owner is not made by Acquire", ErrInvalidConfig)
	}

	return nil
}

// ProcessAt is ProcessIfNew for a record without an event id: its place alone, by the
// checkpoint, tells whether it is processed. Nothing is stored for the record, so this is the
// cheapest way and forgets nothing; but a record that is produced twice is processed twice.
func (g *Guard) ProcessAt(ctx context.Context, o *Owner, offset int64, fn Handler, opts ...Option) (Outcome, error) {
	c, err := g.newCallAt(o, offset, opts)
	if err != nil {
		return 0, err
	}

	return g.process(ctx, c, fn)
}

func (g *Guard) newCallAt(o *Owner, offset int64, opts []Option) (call, error) {
	if err := g.check(); err != nil {
		return call{}, err
	}
	c, err := g.newOptions(append(slices.Clip(opts), WithOwner(o, offset)))
	switch {
	case err != nil:
		return call{}, err
	case c.metadata != "" || c.fingerprint != 0 || c.recordDuration:
		return call{}, fmt.Errorf("%w: nothing is stored for the record, so it can have no metadata and no fingerprint", ErrInvalidConfig)
	}
	c.eventID = o.partition.place(offset)

	return c, nil
}

// claimOwned is claim for a call with an owner. It sends the first statement on b, with BEGIN and
// the lock of the partition, and others only to find out why nothing was claimed.
func (g *Guard) claimOwned(ctx context.Context, b *beginner, c call) (claimed, error) {
	o := c.owner
	if o.guard != g {
		return claimed{}, fmt.Errorf("%w: the Owner was made by another Guard", ErrInvalidConfig)
	}
	// It cannot fail: a queuer sends nothing.
	_ = g.queries.PartitionHold(ctx, g.names.on(queuer{batch: &b.first}), o.lockKey)
	g.queueReclaim(ctx, b, c)
	conn := g.names.on(b)
	if !c.advances {
		return g.claimHeld(ctx, conn, c)
	}
	keyed := c.keyed()
	o.moves(c.next)
	rows, err := g.queries.CheckpointClaim(ctx, conn, db.CheckpointClaimParams{
		NextOffset: c.next, FirstOffset: c.offset, SeenOffset: o.Next(), LeaderEpoch: o.leaderEpoch,
		ConsumerID: g.consumer, Topic: o.partition.Topic, Partition: o.partition.Number, Lane: o.lane, OwnerToken: o.token,
		ClaimID: c.claimID.String(), Keys: keyed.keys, EventIds: keyed.eventIDs, Metadata: keyed.metadata, Fingerprints: keyed.fingerprints,
	})
	switch {
	case err != nil:
		return claimed{}, fmt.Errorf("idem: claim: %w", explain(err))
	case rows[0].Advanced:
		return claimed{place: true, count: int(rows[0].Claimed), part: rows[0].Part}, nil
	}
	next, err := g.readCheckpoint(ctx, g.names.on(b.tx), o)
	if err != nil {
		return claimed{}, err
	}
	o.passed(next)
	if next <= c.offset {
		return claimed{}, errMoved
	}

	return claimed{next: next}, nil
}

func (g *Guard) claimHeld(ctx context.Context, conn db.DBTX, c call) (claimed, error) {
	o := c.owner
	rows, err := g.queries.EventClaimOwned(ctx, conn, db.EventClaimOwnedParams{
		ConsumerID: g.consumer, Topic: o.partition.Topic, Partition: o.partition.Number, OwnerToken: o.token,
		Key: c.key.String(), ClaimID: c.claimID.String(), EventID: storedEventID(c.eventID), Metadata: c.metadata,
		Fingerprint: int64(c.fingerprint),
	})
	switch {
	case err != nil:
		return claimed{}, fmt.Errorf("idem: claim: %w", explain(err))
	case !rows[0].Owned:
		return claimed{}, ErrFenced
	default:
		return claimed{place: true, count: int(rows[0].Claimed)}, nil
	}
}

// probeCheckpoint is probe for records without an event id.
func (g *Guard) probeCheckpoint(ctx context.Context, c call) (Outcome, error) {
	var next int64
	err := g.onConn(ctx, func(conn db.DBTX) error {
		var err error
		next, err = g.readCheckpoint(ctx, conn, c.owner)

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

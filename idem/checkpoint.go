package idem

import (
	"context"
	"fmt"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/internal/tables"
)

// claimOwned is claim for a call with an owner. It sends the first statement on b, with BEGIN and
// the lock of the partition, and others only to find out why nothing was claimed.
func (g *Guard) claimOwned(ctx context.Context, b *beginner, c call) (claimed, error) {
	o := c.owner
	// It cannot fail: a queuer sends nothing.
	_ = g.queries.PartitionHold(ctx, g.names.on(tables.Queuer{Batch: &b.first}), o.lockKey)
	g.queueReclaim(ctx, b, c)
	conn := g.names.on(b)
	if !c.advances {
		return g.claimHeld(ctx, conn, c)
	}
	keyed := c.keyed()
	o.moves(c.next)
	rows, err := g.queries.CheckpointClaim(ctx, conn, db.CheckpointClaimParams{
		NextOffset: c.next, FirstOffset: c.offset, SeenOffset: o.Next(), LeaderEpoch: o.leaderEpoch,
		ConsumerID: g.consumer, Topic: o.partition.Topic, Partition: o.partition.Number, Lane: o.lane, OwnerToken: o.Token(),
		ClaimID: c.claimID.String(), Keys: keyed.keys, EventIds: keyed.eventIDs, Metadata: keyed.metadata, Fingerprints: keyed.fingerprints,
	})
	switch {
	case err != nil:
		return claimed{}, fmt.Errorf("idem: claim: %w", explain(err))
	case rows[0].Advanced:
		return claimed{place: true, count: int(rows[0].Claimed), part: rows[0].Part}, nil
	}
	conn = g.names.on(b.tx)
	// First without a lock: the present owner's transaction holds it.
	if err := o.verify(ctx, conn); err != nil {
		return claimed{}, err
	}
	next, err := g.readCheckpoint(ctx, conn, o)
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
		ConsumerID: g.consumer, Topic: o.partition.Topic, Partition: o.partition.Number, OwnerToken: o.Token(),
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

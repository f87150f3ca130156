package idem

import (
	"context"
	"fmt"

	"github.com/nova-events/idempotent-consumer/db"
)

// Lanes returns n owners of the partition for n goroutines. Each processes a part of the records from
// Next on, in their order. Each lane has a checkpoint of its own, by which lost commits are noticed.
// Advance moves the partition's checkpoint when all records before are processed. Whoever acquires
// the partition fences the lanes too. A second call replaces the lanes. Lanes of an unfenced owner
// are unfenced owners.
func (o *Owner) Lanes(ctx context.Context, n int) ([]*Owner, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if n < 1 || n > maxLanes {
		return nil, fmt.Errorf("%w: %d lanes; use 1 to %d", ErrInvalidConfig, n, maxLanes)
	}
	lanes := make([]*Owner, n)
	if !o.fenced() {
		for i := range lanes {
			lanes[i] = o.guard.Unfenced(o.partition)
		}

		return lanes, nil
	}
	err := o.place(ctx, func(conn db.DBTX) (int64, error) {
		o.laneTries++

		return o.guard.queries.CheckpointMakeLanes(ctx, conn, db.CheckpointMakeLanesParams{
			NextOffset: o.Next(), Try: o.laneTries, Lanes: int32(n), //nolint:gosec // Checked above.
			ConsumerID: o.guard.consumer, Topic: o.partition.Topic, Partition: o.partition.Number, OwnerToken: o.Token(),
		})
	})
	if err != nil {
		return nil, err
	}
	for i := range lanes {
		lanes[i] = &Owner{guard: o.guard, partition: o.partition, lockKey: o.lockKey, lane: int32(i + 1)}
		lanes[i].token.Store(o.token.Load())
		lanes[i].acquired.Store(o.acquired.Load())
		lanes[i].at(o.Next())
	}
	o.lanes = lanes

	return lanes, nil
}

// maxLanes bounds the rows of a partition.
const maxLanes = 1 << 12

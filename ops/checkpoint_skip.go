package ops

import (
	"context"

	"github.com/google/uuid"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/internal/readable"
)

// SkipTarget says which record is to be skipped, who does it and why. The last two are for people and may be
// empty.
type SkipTarget struct {
	RecordPlace

	By     string `json:"by"` // added to the database's role and this host, which are known
	Reason string `json:"reason"`
}

// SkipPlan is a record at which its checkpoint stands, so that it can be skipped.
type SkipPlan struct {
	SkipTarget

	Checkpoint Checkpoint `json:"checkpoint"`
}

// SkipResult is a record that was skipped.
type SkipResult struct {
	RecordPlace

	NextOffset int64 `json:"next_offset"` // of the checkpoint

	// DeadLetter says who has skipped the record and why. It is discarded, and its record was not read.
	DeadLetter uuid.UUID `json:"dead_letter"`
}

// PlanSkip finds out whether Skip would skip a record. Errors wrap ErrInvalid, ErrUnknownConsumer, ErrNoCheckpoint
// or ErrNotNext.
func (c *Client) PlanSkip(ctx context.Context, target SkipTarget) (SkipPlan, error) {
	if err := checkWords(target.By, target.Reason); err != nil {
		return SkipPlan{}, err
	}
	reset, err := c.PlanReset(ctx, CheckpointTarget{
		Consumer: target.Consumer, Topic: target.Topic, Partition: &target.Partition, NextOffset: target.Offset,
	})
	if err != nil {
		return SkipPlan{}, err
	}
	plan := SkipPlan{SkipTarget: target, Checkpoint: reset.Checkpoints[0]}
	if plan.Checkpoint.NextOffset != target.Offset {
		return SkipPlan{}, refuse(ErrNotNext, "the record at offset %d is not the next one: the checkpoint of %s/%d is at %d; only the record at the checkpoint can be skipped",
			target.Offset, readable.Name(target.Topic), target.Partition, plan.Checkpoint.NextOffset)
	}

	return plan, nil
}

// Skip sets the checkpoint behind the record of a plan, which is never processed then, and stores a discarded dead
// letter that says who did it and why; Reprocess processes the record after all. A consumer that runs is fenced,
// as by ResetCheckpoints, and goes on behind the record. If the checkpoint has moved since the plan was made, nothing
// changes and the error wraps ErrNotNext.
func (c *Client) Skip(ctx context.Context, plan SkipPlan) (SkipResult, error) {
	if err := checkWords(plan.By, plan.Reason); err != nil {
		return SkipResult{}, err
	}
	consumer, err := c.consumer(ctx, plan.Consumer)
	if err != nil {
		return SkipResult{}, err
	}
	by, err := c.operator(ctx, plan.By)
	if err != nil {
		return SkipResult{}, err
	}
	why := "skipped by " + by
	if plan.Reason != "" {
		why += ": " + plan.Reason
	}
	id, err := uuid.NewV7()
	if err != nil {
		return SkipResult{}, c.failed(ctx, "make the id of a dead letter", err)
	}
	err = c.in(ctx, func(conn db.DBTX) error {
		moved, err := c.queries.CheckpointSet(ctx, conn, db.CheckpointSetParams{
			NextOffset: plan.Offset + 1, ConsumerID: consumer.id, Topic: plan.Topic, Partition: &plan.Partition, Standing: &plan.Offset,
		})
		switch {
		case err != nil:
			return c.failed(ctx, "set the checkpoint", err)
		case len(moved) == 0:
			return refuse(ErrNotNext, "the checkpoint of %s/%d is not at offset %d any more; nothing was changed", readable.Name(plan.Topic), plan.Partition, plan.Offset)
		}

		return c.failed(ctx, "store a dead letter", c.queries.DeadLetterSkip(ctx, conn, db.DeadLetterSkipParams{
			ConsumerID: consumer.id, ID: id, Topic: plan.Topic, RecordPartition: plan.Partition, RecordOffset: plan.Offset, Error: why,
		}))
	})
	if err != nil {
		return SkipResult{}, err
	}

	return SkipResult{RecordPlace: plan.RecordPlace, NextOffset: plan.Offset + 1, DeadLetter: id}, nil
}

package ops

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/internal/readable"
)

// CheckpointTarget is which checkpoints are to be set, and to which offset.
type CheckpointTarget struct {
	Consumer   string `json:"consumer"`
	Topic      string `json:"topic"`
	Partition  *int32 `json:"partition"` // nil: all partitions that have a checkpoint
	NextOffset int64  `json:"next_offset"`
}

// Validate finds out what PlanReset would refuse, without a connection. Errors wrap ErrInvalid.
func (t CheckpointTarget) Validate() error {
	switch {
	case t.Consumer == "":
		return invalid("the consumer is not named")
	case t.Topic == "":
		return invalid("the topic is not named")
	case t.Partition != nil && *t.Partition < 0:
		return invalid("the partition is negative (%d)", *t.Partition)
	case t.NextOffset < 0:
		return invalid("the offset is negative (%d)", t.NextOffset)
	default:
		return nil
	}
}

// ResetPlan says which checkpoints are to be set.
type ResetPlan struct {
	CheckpointTarget

	Checkpoints []Checkpoint `json:"checkpoints"` // as they are
}

// Back is how many of them go back: the records from there on are processed again, unless their event ids
// are known.
func (p ResetPlan) Back() (n int) {
	for _, checkpoint := range p.Checkpoints {
		if checkpoint.NextOffset > p.NextOffset {
			n++
		}
	}

	return n
}

// Forward is how many of them go forward: the records before are never processed.
func (p ResetPlan) Forward() (n int) {
	for _, checkpoint := range p.Checkpoints {
		if checkpoint.NextOffset < p.NextOffset {
			n++
		}
	}

	return n
}

// ResetResult says what was set.
type ResetResult struct {
	Consumer   string            `json:"consumer"`
	Topic      string            `json:"topic"`
	Partitions []ResetCheckpoint `json:"partitions"`
}

// ResetCheckpoint is a checkpoint that was set.
type ResetCheckpoint struct {
	Partition      int32 `json:"partition"`
	NextOffset     int64 `json:"next_offset"`
	PreviousOffset int64 `json:"previous_next_offset"`
	Epoch          int64 `json:"epoch"`
	PreviousEpoch  int64 `json:"previous_epoch"`
}

// PlanReset looks up the checkpoints that ResetCheckpoints would set. It creates none, because the topic or
// the partition may be mistyped: the error then wraps ErrNoCheckpoint.
func (c *Client) PlanReset(ctx context.Context, target CheckpointTarget) (ResetPlan, error) {
	if err := target.Validate(); err != nil {
		return ResetPlan{}, err
	}
	known, err := c.Checkpoints(ctx, target.Consumer, "")
	if err != nil {
		return ResetPlan{}, err
	}
	plan := ResetPlan{CheckpointTarget: target}
	var topics, partitions []string
	for _, checkpoint := range known {
		topics = append(topics, readable.Name(checkpoint.Topic))
		if checkpoint.Topic != target.Topic {
			continue
		}
		partitions = append(partitions, strconv.Itoa(int(checkpoint.Partition)))
		if target.Partition == nil || checkpoint.Partition == *target.Partition {
			plan.Checkpoints = append(plan.Checkpoints, checkpoint)
		}
	}
	consumer, topic := readable.Name(target.Consumer), readable.Name(target.Topic)
	switch {
	case len(plan.Checkpoints) > 0:
		return plan, nil
	case len(partitions) > 0:
		return plan, refuse(ErrNoCheckpoint, "%s has no checkpoint for partition %d of %s; it has one for: %s",
			consumer, *target.Partition, topic, strings.Join(partitions, ", "))
	case len(topics) > 0:
		return plan, refuse(ErrNoCheckpoint, "%s has no checkpoint for the topic %s; it has some for: %s",
			consumer, topic, strings.Join(slices.Compact(topics), ", "))
	default:
		return plan, refuse(ErrNoCheckpoint, "%s has no checkpoints: nothing is to be reset", consumer)
	}
}

// holds returns an error if there was no checkpoint to be set, or one of which the plan does not know, or that the plan has go the other way. A
// plan without checkpoints says nothing of that.
func (p ResetPlan) holds(set []db.CheckpointSetRow) error {
	consumer, topic := readable.Name(p.Consumer), readable.Name(p.Topic)
	if len(set) == 0 {
		return refuse(ErrNoCheckpoint, "%s has no such checkpoint for %s any more", consumer, topic)
	}
	for _, row := range set {
		i := slices.IndexFunc(p.Checkpoints, func(was Checkpoint) bool { return was.Partition == row.Partition })
		switch {
		case i < 0 && len(p.Checkpoints) > 0:
			return refuse(ErrChanged, "%s has got a checkpoint for partition %d of %s meanwhile, at %d: it stays there", consumer, row.Partition, topic, row.FormerNextOffset)
		case i >= 0 && cmp.Compare(row.FormerNextOffset, p.NextOffset) != cmp.Compare(p.Checkpoints[i].NextOffset, p.NextOffset):
			return refuse(ErrChanged, "the checkpoint of %s for partition %d of %s has moved from %d to %d meanwhile, so that %d is on its other side: it stays there",
				consumer, row.Partition, topic, p.Checkpoints[i].NextOffset, row.FormerNextOffset, p.NextOffset)
		}
	}

	return nil
}

// ResetCheckpoints sets the checkpoints of a plan. A consumer that runs is fenced: its next transaction is
// refused, and it goes on from the new checkpoint. The count of owners that ended at one record starts
// again. The group's offset in Kafka follows by itself. The error wraps ErrChanged if a checkpoint would go back where
// the plan has it go forward, or the other way round, because it has moved since, or if the plan does not know it; nothing is changed then.
func (c *Client) ResetCheckpoints(ctx context.Context, plan ResetPlan) (ResetResult, error) {
	if err := plan.Validate(); err != nil {
		return ResetResult{}, err
	}
	consumer, err := c.consumer(ctx, plan.Consumer)
	if err != nil {
		return ResetResult{}, err
	}
	var rows []db.CheckpointSetRow
	err = c.in(ctx, func(conn db.DBTX) error {
		rows, err = c.queries.CheckpointSet(ctx, conn, db.CheckpointSetParams{
			NextOffset: plan.NextOffset, ConsumerID: consumer.id, Topic: plan.Topic, Partition: plan.Partition,
		})
		if err != nil {
			return c.failed(ctx, "set the checkpoints", err)
		}

		return plan.holds(rows)
	})
	if err != nil {
		return ResetResult{}, err
	}
	r := ResetResult{Consumer: plan.Consumer, Topic: plan.Topic, Partitions: make([]ResetCheckpoint, 0, len(rows))}
	for _, row := range rows {
		r.Partitions = append(r.Partitions, ResetCheckpoint{
			Partition: row.Partition, NextOffset: row.NextOffset, PreviousOffset: row.FormerNextOffset,
			Epoch: row.Epoch, PreviousEpoch: row.FormerEpoch,
		})
	}
	slices.SortFunc(r.Partitions, func(p, q ResetCheckpoint) int { return cmp.Compare(p.Partition, q.Partition) })

	return r, nil
}

package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/internal/readable"
	"github.com/nova-events/idempotent-consumer/ops"
)

// resetChoice says what "checkpoint reset" is to set.
type resetChoice struct {
	topic     string
	partition int32
	all       bool
	to        int64
	toTime    string // or an age
	brokers   string // for toTime
}

func newCheckpointReset(a *app) *cobra.Command {
	var choice resetChoice
	command := &cobra.Command{
		Use:   "reset",
		Short: "Set checkpoints back or forward",
		Long: `Sets the checkpoint of a partition, or of all partitions of a topic that have one. A consumer
that runs is fenced: its next transaction is refused, and it goes on from the new checkpoint. The
count of owners that died with one record (Config.MaxStarts) starts again. Asks before it does so.

Set back, the records from there on are processed again, unless their event ids are known (see
"idemctl forget"). Set forward, the records before are never processed.

With --to-time each partition goes to its first record that is not older, by Kafka's index of times, or
to its end if all are older. That asks the brokers.

The offset that the group has committed to Kafka follows by itself.`,
		Example: `  idemctl checkpoint reset --consumer orders --topic payments --partition 3 --to 1200
  idemctl checkpoint reset --consumer orders --topic payments --all-partitions --to 0
  idemctl checkpoint reset --consumer orders --topic payments --all-partitions --to-time 2026-11-26T10:15:00Z --brokers kafka-1:9092
  idemctl checkpoint reset --consumer orders --topic payments --all-partitions --to-time 36h --brokers kafka-1:9092`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return a.resetCheckpoints(command, choice) },
	}
	a.consumerFlag(command, "`NAME` of the consumer")
	flags := command.Flags()
	flags.StringVarP(&choice.topic, "topic", "t", "", "`TOPIC` of the partitions")
	flags.Int32VarP(&choice.partition, "partition", "p", 0, "`NUMBER` of the partition")
	flags.BoolVar(&choice.all, "all-partitions", false, "all partitions that have a checkpoint")
	flags.Int64Var(&choice.to, "to", 0, "`OFFSET` of the first record that is to count as not processed")
	flags.StringVar(&choice.toTime, "to-time", "", "`TIME` of the first record that is to count as not processed (2026-01-31T12:00:00Z, 2026-01-31), or how long ago that was (36h, 7d)")
	brokersFlag(command, &choice.brokers, "`BROKERS` to ask for --to-time")
	a.yesFlag(command)

	return command
}

// check finds out whether the flags of a line say one thing.
func (c resetChoice) check(given func(flag string) bool) error {
	switch {
	case c.topic == "":
		return fail(exitUsage, "which topic? name it with --topic; \"idemctl checkpoint list\" lists them")
	case given("partition") == c.all:
		return fail(exitUsage, "which partition? give either --partition or --all-partitions")
	case c.partition < 0:
		return fail(exitUsage, "--partition is negative (%d)", c.partition)
	case given("to") == given("to-time"):
		return fail(exitUsage, "where to? give either the offset with --to or the time with --to-time")
	case c.to < 0:
		return fail(exitUsage, "--to is negative (%d)", c.to)
	default:
		return nil
	}
}

func (a *app) resetCheckpoints(command *cobra.Command, choice resetChoice) error {
	if err := choice.check(command.Flags().Changed); err != nil {
		return err
	}
	if err := a.needConsumer(); err != nil {
		return err
	}
	target := ops.CheckpointTarget{Consumer: a.settings.consumer, Topic: choice.topic, NextOffset: choice.to}
	if !choice.all {
		target.Partition = &choice.partition
	}

	var since func(ctx context.Context, partitions []int32) (map[int32]int64, error)
	if command.Flags().Changed("to-time") {
		age, at, err := parseSince(choice.toTime)
		if err != nil {
			return fail(exitUsage, "--to-time: %w", err)
		}
		if age > 0 {
			at = time.Now().Add(-age) // The times of records are of their producers' clocks.
		}
		cluster, named, err := a.chooseBrokers(command, choice.brokers)
		switch {
		case err != nil:
			return err
		case !named:
			return fail(exitUsage, "--to-time needs the brokers: name them with --brokers or $IDEM_BROKERS")
		}
		since = func(ctx context.Context, partitions []int32) (map[int32]int64, error) {
			return cluster.Since(ctx, choice.topic, partitions, at)
		}
	}

	return a.withTables(command, func(ctx context.Context, c *ops.Client) error {
		plan, err := c.PlanReset(ctx, target)
		if err != nil {
			return err
		}
		plans := []ops.ResetPlan{plan}
		if since != nil {
			if plans, err = plansOf(ctx, plan, since); err != nil {
				return err
			}
		}
		if err := a.confirm(ctx, resetWarning(plans)); err != nil {
			return err
		}
		var done ops.ResetResult
		for _, plan := range plans {
			one, err := c.ResetCheckpoints(ctx, plan)
			if err != nil {
				return a.finish(done, resetText(done), err)
			}
			done = ops.ResetResult{Consumer: one.Consumer, Topic: one.Topic, Partitions: append(done.Partitions, one.Partitions...)}
		}

		return a.print(done, resetText(done))
	})
}

// plansOf makes a plan for each partition of one, which goes where since says.
func plansOf(ctx context.Context, plan ops.ResetPlan, since func(context.Context, []int32) (map[int32]int64, error)) ([]ops.ResetPlan, error) {
	partitions := make([]int32, len(plan.Checkpoints))
	for i, checkpoint := range plan.Checkpoints {
		partitions[i] = checkpoint.Partition
	}
	offsets, err := since(ctx, partitions)
	if err != nil {
		return nil, err
	}
	plans := make([]ops.ResetPlan, len(partitions))
	for i, checkpoint := range plan.Checkpoints {
		plans[i] = ops.ResetPlan{CheckpointTarget: plan.CheckpointTarget, Checkpoints: []ops.Checkpoint{checkpoint}}
		plans[i].Partition, plans[i].NextOffset = &partitions[i], offsets[checkpoint.Partition]
	}

	return plans, nil
}

func resetText(r ops.ResetResult) string {
	t := table{columns: []column{
		{name: "PARTITION", number: true}, {name: "BEFORE", number: true}, {name: "AFTER", number: true}, {name: "EPOCH", number: true},
	}}
	for _, p := range r.Partitions {
		t.row(decimal(p.Partition), decimal(p.PreviousOffset), decimal(p.NextOffset), decimal(p.Epoch))
	}

	return fmt.Sprintf("%s of %s for %s reset.\n\n", readable.Plural(int64(len(r.Partitions)), "checkpoint"), readable.Name(r.Consumer), readable.Name(r.Topic)) + t.String()
}

// resetWarning says what the resets do.
func resetWarning(plans []ops.ResetPlan) string {
	var text []string
	back, forward := 0, 0
	for _, plan := range plans {
		consumer, topic := readable.Name(plan.Consumer), readable.Name(plan.Topic)
		about := fmt.Sprintf("%s of %s for %s will be set to %d.", readable.Plural(int64(len(plan.Checkpoints)), "checkpoint"), consumer, topic, plan.NextOffset)
		if len(plan.Checkpoints) == 1 {
			about = fmt.Sprintf("The checkpoint of %s for partition %d of %s will be set from %d to %d.",
				consumer, plan.Checkpoints[0].Partition, topic, plan.Checkpoints[0].NextOffset, plan.NextOffset)
		}
		text = append(text, about)
		back += plan.Back()
		forward += plan.Forward()
	}
	if back > 0 {
		text = append(text, move(back)+" back: the records from there on are processed again, unless their event ids are known.")
	}
	if forward > 0 {
		text = append(text, move(forward)+" forward: the records before are never processed.")
	}

	return lines(append(text, "A consumer that runs is fenced at its next record and begins anew.")...)
}

// move is the beginning of a sentence about so many checkpoints.
func move(n int) string {
	if n == 1 {
		return "1 goes"
	}

	return readable.Number(n) + " go"
}

package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/db"
)

// resetChoice says what "checkpoint reset" is to set.
type resetChoice struct {
	topic     string
	partition int32
	all       bool
	to        int64
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

The offset that the group has committed to Kafka follows by itself.`,
		Example: `  idemctl checkpoint reset --consumer orders --topic payments --partition 3 --to 1200
  idemctl checkpoint reset --consumer orders --topic payments --all-partitions --to 0`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return a.resetCheckpoints(command, choice) },
	}
	a.consumerFlag(command, "`NAME` of the consumer")
	flags := command.Flags()
	flags.StringVarP(&choice.topic, "topic", "t", "", "`TOPIC` of the partitions")
	flags.Int32VarP(&choice.partition, "partition", "p", 0, "`NUMBER` of the partition")
	flags.BoolVar(&choice.all, "all-partitions", false, "all partitions that have a checkpoint")
	flags.Int64Var(&choice.to, "to", 0, "`OFFSET` of the first record that is to count as not processed")
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
	case !given("to"):
		return fail(exitUsage, "where to? give the offset with --to")
	case c.to < 0:
		return fail(exitUsage, "--to is negative (%d)", c.to)
	default:
		return nil
	}
}

type resetReport struct {
	Consumer   string           `json:"consumer"`
	Topic      string           `json:"topic"`
	Partitions []resetPartition `json:"partitions"`
}

type resetPartition struct {
	Partition      int32 `json:"partition"`
	NextOffset     int64 `json:"next_offset"`
	PreviousOffset int64 `json:"previous_next_offset"`
	Epoch          int64 `json:"epoch"`
	PreviousEpoch  int64 `json:"previous_epoch"`
}

func (r resetReport) text() string {
	t := table{columns: []column{
		{name: "PARTITION", number: true}, {name: "BEFORE", number: true}, {name: "AFTER", number: true}, {name: "EPOCH", number: true},
	}}
	for _, p := range r.Partitions {
		t.row(decimal(p.Partition), decimal(p.PreviousOffset), decimal(p.NextOffset), decimal(p.Epoch))
	}

	return fmt.Sprintf("%s of %s for %s reset.\n\n", plural(int64(len(r.Partitions)), "checkpoint"), printable(r.Consumer), printable(r.Topic)) + t.String()
}

func (a *app) resetCheckpoints(command *cobra.Command, choice resetChoice) error {
	if err := choice.check(command.Flags().Changed); err != nil {
		return err
	}
	if err := a.needConsumer(); err != nil {
		return err
	}

	return a.withStore(command, func(ctx context.Context, s *store) error {
		consumer, err := s.consumer(ctx, a.settings.consumer)
		if err != nil {
			return err
		}
		known, err := s.checkpoints(ctx, consumer.Name, "")
		if err != nil {
			return err
		}
		chosen, err := choice.of(consumer.Name, known)
		if err != nil {
			return err
		}
		if err := a.confirm(ctx, choice.warning(consumer.Name, chosen)); err != nil {
			return err
		}
		params := db.CheckpointSetParams{NextOffset: choice.to, ConsumerID: consumer.ID, Topic: choice.topic}
		if !choice.all {
			params.Partition = &choice.partition
		}
		rows, err := s.queries.CheckpointSet(ctx, s.conn, params)
		if err != nil {
			return fmt.Errorf("set the checkpoints: %w", err)
		}

		return a.print(newResetReport(consumer.Name, choice.topic, rows))
	})
}

func newResetReport(consumer, topic string, rows []db.CheckpointSetRow) resetReport {
	r := resetReport{Consumer: consumer, Topic: topic, Partitions: make([]resetPartition, len(rows))}
	for i, row := range rows {
		r.Partitions[i] = resetPartition{
			Partition: row.Partition, NextOffset: row.NextOffset, PreviousOffset: row.FormerNextOffset,
			Epoch: row.Epoch, PreviousEpoch: row.FormerEpoch,
		}
	}
	slices.SortFunc(r.Partitions, func(p, q resetPartition) int { return cmp.Compare(p.Partition, q.Partition) })

	return r
}

// of returns the checkpoints of a consumer that are chosen. A checkpoint that is not there is not
// made: the topic or the partition may be mistyped.
func (c resetChoice) of(consumer string, known checkpointList) (checkpointList, error) {
	var topics, partitions []string
	var chosen checkpointList
	for _, w := range known {
		topics = append(topics, printable(w.Topic))
		if w.Topic != c.topic {
			continue
		}
		partitions = append(partitions, decimal(w.Partition))
		if c.all || w.Partition == c.partition {
			chosen = append(chosen, w)
		}
	}
	switch {
	case len(chosen) > 0:
		return chosen, nil
	case len(partitions) > 0:
		return nil, fmt.Errorf("%s has no checkpoint for partition %d of %s; it has one for: %s",
			printable(consumer), c.partition, printable(c.topic), strings.Join(partitions, ", "))
	case len(topics) > 0:
		return nil, fmt.Errorf("%s has no checkpoint for the topic %s; it has some for: %s",
			printable(consumer), printable(c.topic), strings.Join(slices.Compact(topics), ", "))
	default:
		return nil, fmt.Errorf("%s has no checkpoints: nothing is to be reset", printable(consumer))
	}
}

// warning says what the reset does.
func (c resetChoice) warning(consumer string, chosen checkpointList) string {
	back := count(chosen, func(w listedCheckpoint) bool { return w.NextOffset > c.to })
	forward := count(chosen, func(w listedCheckpoint) bool { return w.NextOffset < c.to })
	about := fmt.Sprintf("%s of %s for %s will be set to %d.", plural(int64(len(chosen)), "checkpoint"), printable(consumer), printable(c.topic), c.to)
	if len(chosen) == 1 {
		about = fmt.Sprintf("The checkpoint of %s for partition %d of %s will be set from %d to %d.",
			printable(consumer), chosen[0].Partition, printable(c.topic), chosen[0].NextOffset, c.to)
	}
	var goesBack, goesForward string
	if back > 0 {
		goesBack = move(back) + " back: the records from there on are processed again, unless their event ids are known."
	}
	if forward > 0 {
		goesForward = move(forward) + " forward: the records before are never processed."
	}

	return lines(about, goesBack, goesForward, "A consumer that runs is fenced at its next record and begins anew.")
}

// move is the beginning of a sentence about so many checkpoints.
func move(n int) string {
	if n == 1 {
		return "1 goes"
	}

	return number(n) + " go"
}

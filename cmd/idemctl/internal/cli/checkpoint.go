package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/internal/readable"
	"github.com/nova-events/idempotent-consumer/ops"
)

func newCheckpoint(a *app) *cobra.Command {
	return group("checkpoint", "List and reset how far each partition is processed",
		`A checkpoint says how far a consumer has processed a partition: all records before NEXT have
taken effect. It advances in the transactions that process the records, and only by the latest
owner of the partition; EPOCH grows with each owner and each reset.`,
		newCheckpointList(a), newCheckpointReset(a), newCheckpointSkip(a))
}

func newCheckpointList(a *app) *cobra.Command {
	var topic string
	command := &cobra.Command{
		Use:   "list",
		Short: "List the checkpoints",
		Long: `Lists the checkpoints of all consumers and topics, or of those that are named. ACQUIRED is when
the latest owner acquired the partition, OWNER its host and process.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return a.listCheckpoints(command, topic) },
	}
	a.consumerFlag(command, "`NAME` of the consumer to look at (default: all)")
	command.Flags().StringVarP(&topic, "topic", "t", "", "`TOPIC` to look at (default: all)")

	return command
}

func (a *app) listCheckpoints(command *cobra.Command, topic string) error {
	return a.withTables(command, func(ctx context.Context, c *ops.Client) error {
		list, err := c.Checkpoints(ctx, a.settings.consumer, topic)
		if err != nil {
			return err
		}

		return a.print(list, checkpointsText(list))
	})
}

func checkpointsText(l []ops.Checkpoint) string {
	if len(l) == 0 {
		return "There is no checkpoint: a consumer that keeps them makes one for each partition that it takes over.\n"
	}
	t := table{columns: []column{
		consumerColumn, {name: "TOPIC"}, {name: "PARTITION", number: true}, {name: "NEXT", number: true},
		{name: "EPOCH", number: true}, {name: "ACQUIRED"}, {name: "OWNER"},
	}}
	for _, w := range l {
		// Offsets and epochs are numbers to copy, so they have no commas.
		t.row(readable.Name(w.Consumer), readable.Name(w.Topic), decimal(w.Partition), decimal(w.NextOffset),
			decimal(w.Epoch), readable.Timestamp(w.AcquiredAt), optional(w.Owner))
	}

	return t.String()
}

package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/internal/readable"
	"github.com/nova-events/idempotent-consumer/ops"
)

func newCheckpointSkip(a *app) *cobra.Command {
	var target ops.SkipTarget
	command := &cobra.Command{
		Use:   "skip",
		Short: "Pass over the one record at which a partition stands still",
		Long: `Sets a checkpoint behind the record at which it stands: that record is never processed. It is refused
unless the checkpoint is at --offset. A consumer that runs is fenced: its next transaction is
refused, and it goes on behind the record. Asks before it does so.

A discarded dead letter says who has skipped the record, with --by and --reason. "idemctl reprocess"
has the record processed after all, as long as Kafka has it.`,
		Example: `  idemctl checkpoint skip --consumer orders --topic payments --partition 3 --offset 1200 --reason "of no use"`,
		Args:    cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			switch lacks := missing(command, "topic", "partition", "offset"); {
			case lacks != "":
				return fail(exitUsage, "which record? %s; \"idemctl checkpoint list\" tells where each partition stands", lacks)
			case target.Partition < 0 || target.Offset < 0:
				return fail(exitUsage, "--partition or --offset is negative")
			}
			if err := a.needConsumer(); err != nil {
				return err
			}
			target.Consumer = a.settings.consumer

			return a.skip(command, target)
		},
	}
	a.consumerFlag(command, "`NAME` of the consumer")
	flags := command.Flags()
	flags.StringVarP(&target.Topic, "topic", "t", "", "`TOPIC` of the record")
	flags.Int32VarP(&target.Partition, "partition", "p", 0, "`NUMBER` of its partition")
	flags.Int64Var(&target.Offset, "offset", 0, "`OFFSET` of the record")
	flags.StringVar(&target.By, "by", "", "`NAME` of who skips it, for people")
	flags.StringVar(&target.Reason, "reason", "", "`TEXT` that says why, for people")
	a.yesFlag(command)

	return command
}

func (a *app) skip(command *cobra.Command, target ops.SkipTarget) error {
	return a.withTables(command, func(ctx context.Context, c *ops.Client) error {
		plan, err := c.PlanSkip(ctx, target)
		if err != nil {
			return err
		}
		if err := a.confirm(ctx, fmt.Sprintf("%s will never process the record at offset %d of partition %d of %s.\nA consumer that runs is fenced at its next record and begins anew.",
			readable.Name(target.Consumer), target.Offset, target.Partition, readable.Name(target.Topic))); err != nil {
			return err
		}
		r, err := c.Skip(ctx, plan)
		if err != nil {
			return err
		}

		return a.print(r, fmt.Sprintf("The record at offset %d of partition %d of %s is skipped; the dead letter %s says so.\n",
			r.Offset, r.Partition, readable.Name(r.Topic), r.DeadLetter))
	})
}

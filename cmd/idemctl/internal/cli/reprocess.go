package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/internal/readable"
	"github.com/nova-events/idempotent-consumer/ops"
)

// place is that of a record in Kafka.
type place struct {
	topic     string
	partition int32
	offset    int64
}

func newReprocess(a *app) *cobra.Command {
	var at place
	command := &cobra.Command{
		Use:   "reprocess [EVENT-ID]",
		Short: "Process a record again, now and once",
		Long: `Requests that one record is processed again, whoever has processed its event. The consumer that owns
the partition reads the record from Kafka once more and runs its handler, within seconds if it runs.
The first effects stay. Later records are not repeated, and the checkpoint does not move. The command
asks first.

Name the record by topic, partition and offset, or by its event id if its place is stored with the
event (Config.StoreMetadata) or with a dead letter of it. The request is stored as a dead letter:
replayed once the record is processed, open if that fails, expired if Kafka no longer has the record.
If another record has taken its place, that one is not processed: one with another event id, or of a
topic that was deleted and created again.`,
		Example: `  idemctl reprocess 4711 --consumer orders
  idemctl reprocess --consumer orders --topic payments --partition 3 --offset 1200`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(command *cobra.Command, args []string) error { return a.reprocess(command, args, at) },
	}
	a.consumerFlag(command, "`NAME` of the consumer that shall process the record again")
	flags := command.Flags()
	flags.StringVarP(&at.topic, "topic", "t", "", "`TOPIC` of the record")
	flags.Int32VarP(&at.partition, "partition", "p", 0, "`NUMBER` of its partition")
	flags.Int64Var(&at.offset, "offset", 0, "`OFFSET` of the record")
	a.yesFlag(command)

	return command
}

// check finds out whether the command line names one record in one way.
func (p place) check(command *cobra.Command, args []string) error {
	flags := []string{"topic", "partition", "offset"}
	given := slices.ContainsFunc(flags, command.Flags().Changed)
	switch lacks := missing(command, flags...); {
	case len(args) == 1 && given:
		return fail(exitUsage, "give an event id or a place, not both")
	case len(args) == 1:
		return checkEventID(args[0])
	case !given:
		return fail(exitUsage, "which record? give an event id, or --topic, --partition and --offset")
	case lacks != "":
		return fail(exitUsage, "which record? %s", lacks)
	case p.partition < 0 || p.offset < 0:
		return fail(exitUsage, "--partition or --offset is negative")
	default:
		return nil
	}
}

func (a *app) reprocess(command *cobra.Command, args []string, at place) error {
	if err := a.needConsumer(); err != nil {
		return err
	}
	if err := at.check(command, args); err != nil {
		return err
	}

	return a.withTables(command, func(ctx context.Context, c *ops.Client) error {
		place := ops.RecordPlace{Consumer: a.settings.consumer, Topic: at.topic, Partition: at.partition, Offset: at.offset}
		if _, err := c.Consumer(ctx, place.Consumer); err != nil {
			return err
		}
		if len(args) == 1 {
			var err error
			place, err = c.PlanReprocess(ctx, place.Consumer, args[0])
			if err != nil {
				return err
			}
		}
		still := ""
		if place.EventID != "" {
			still = ", if it still is that of event " + readable.Name(readable.Short(place.EventID))
		}
		err := a.confirm(ctx, fmt.Sprintf("The record at offset %d of partition %d of %s will be processed again by %s%s; what was done the first time stays done.",
			place.Offset, place.Partition, readable.Name(place.Topic), readable.Name(place.Consumer), still))
		if err != nil {
			return err
		}
		r, err := c.Reprocess(ctx, place)
		if err != nil {
			return err
		}

		return a.print(r, fmt.Sprintf("The consumer that owns partition %d of %s will process the record at offset %d again within seconds, if it runs. To watch:\n    idemctl deadletter show %v%s\n",
			r.Partition, readable.Name(r.Topic), r.Offset, r.DeadLetter, a.schemaFlag()))
	})
}

package cli

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/internal/readable"
	"github.com/nova-events/idempotent-consumer/ops"
)

func newOutbox(a *app) *cobra.Command {
	return group("outbox", "List, retry and discard records that Kafka refuses",
		`The outbox holds records on their way to Kafka. "idemctl status" counts those that wait for the relay.
Others are in one of these states:
    failed    Kafka refuses it: "outbox retry" or "outbox discard"
    parked    waits behind a failed one of its topic and key, and follows by itself
    retry     will be sent again, by the next turn of a relay
    discard   will be deleted, by the next turn of a relay`,
		newOutboxList(a),
		a.outboxDecision(&cobra.Command{
			Use:   "retry [ID...]",
			Short: "Have the relay send failed records again",
			Long: `Has the relay send failed records again, and then what waits behind them. Do it when what Kafka refused is
mended, a topic's max.message.bytes for instance. A record that Kafka refuses again is failed again.`,
			Example: `  idemctl outbox retry 4711
  idemctl outbox retry --all --topic orders`,
		}, false, "be sent again", (*ops.Client).RetryOutbox),
		a.outboxDecision(&cobra.Command{
			Use:   "discard [ID...]",
			Short: "Have the relay delete failed records",
			Long: `Has the relay delete failed records for ever: they never come to Kafka. What waits behind them follows.
The command always asks first.`,
			Example: `  idemctl outbox discard 4711
  idemctl outbox discard --all --topic orders --dry-run`,
		}, true, "be deleted, which nothing takes back", (*ops.Client).DiscardOutbox))
}

const listCommand = "list"

func newOutboxList(a *app) *cobra.Command {
	var topic, state string
	var limit int32
	command := &cobra.Command{
		Use:   listCommand,
		Short: "List records that Kafka refuses, and those that wait behind them",
		Example: `  idemctl outbox list --state failed
  idemctl outbox list --topic orders`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			filter := ops.OutboxFilter{Topic: topic, Limit: limit}
			if limit > 0 && limit < math.MaxInt32 {
				filter.Limit++ // To see whether there are more.
			}
			switch {
			case slices.Contains(ops.OutboxStates(), ops.OutboxState(state)):
				filter.States = []ops.OutboxState{ops.OutboxState(state)}
			case state != "all":
				return fail(exitUsage, "--state %s: it must be failed, parked, retry, discard or all", readable.Name(readable.Short(state)))
			}

			return a.listOutbox(command, filter, limit)
		},
	}
	flags := command.Flags()
	flags.StringVarP(&topic, "topic", "t", "", "`TOPIC` of the records (default: all)")
	flags.StringVarP(&state, "state", "s", "all", "a `STATE` of those that \"idemctl outbox --help\" lists, or all")
	flags.Int32Var(&limit, "limit", 100, "list at most `N` (0: all)")

	return command
}

func (a *app) listOutbox(command *cobra.Command, filter ops.OutboxFilter, limit int32) error {
	return a.withTables(command, func(ctx context.Context, c *ops.Client) error {
		list, err := c.OutboxRecords(ctx, filter)
		if err != nil {
			return err
		}
		more := limit > 0 && len(list) > int(limit)
		if more {
			list = list[:limit]
		}
		if err := a.print(list, outboxText(list)); err != nil {
			return err
		}
		if more {
			_, _ = fmt.Fprintf(a.Stderr, "There are more than these %s: raise --limit, or choose with the other flags.\n", readable.Number(len(list)))
		}

		return nil
	})
}

func outboxText(list []ops.OutboxRecord) string {
	if len(list) == 0 {
		return "No record is chosen.\n"
	}
	t := table{columns: []column{
		{name: "ID", number: true}, {name: "TOPIC"}, {name: "KEY"}, {name: "EVENT"}, {name: "STATE"}, {name: "PARKED", number: true}, {name: "PUBLISHED"}, {name: "ERROR"},
	}}
	for _, r := range list {
		key := "-"
		if r.Key != nil {
			key = readable.Name(readable.Short(string(r.Key)))
		}
		t.row(strconv.FormatInt(r.ID, 10), readable.Name(r.Topic), key, readable.Name(readable.Short(r.EventID)), string(r.State), readable.Number(r.Parked),
			readable.Timestamp(r.PublishedAt), readable.Name(readable.Short(strings.ReplaceAll(r.Error, "\n", "; "))))
	}

	return t.String()
}

// outboxDecision completes a command that decides about failed records.
func (a *app) outboxDecision(
	command *cobra.Command, alwaysAsks bool, becomes string, apply func(*ops.Client, context.Context, []ops.OutboxRecord) (ops.OutboxResult, error),
) *cobra.Command {
	var topic string
	var all, dryRun bool
	flags := command.Flags()
	flags.BoolVar(&all, "all", false, "take all failed records")
	flags.StringVarP(&topic, "topic", "t", "", "with --all: only those of this `TOPIC`")
	flags.BoolVarP(&dryRun, "dry-run", "n", false, "only list them")
	a.yesFlag(command)
	command.RunE = func(command *cobra.Command, args []string) error {
		filter := ops.OutboxFilter{Topic: topic, States: []ops.OutboxState{ops.OutboxFailed}}
		switch {
		case (len(args) > 0) == all:
			return fail(exitUsage, "which records? give ids, or --all")
		case topic != "" && !all:
			return fail(exitUsage, "--topic goes with --all")
		}
		for _, arg := range args {
			id, err := strconv.ParseInt(arg, 10, 64)
			if err != nil {
				return fail(exitUsage, "%s is no id; \"idemctl outbox list\" lists them", readable.Name(readable.Short(arg)))
			}
			filter.IDs = append(filter.IDs, id)
		}
		slices.Sort(filter.IDs)
		filter.IDs = slices.Compact(filter.IDs)

		return a.withTables(command, func(ctx context.Context, c *ops.Client) error {
			plan, err := c.OutboxRecords(ctx, filter)
			if err != nil {
				return err
			}
			if len(plan) < len(filter.IDs) {
				return fail(exitNotFound, "%d of these records are not failed; \"idemctl outbox list\" lists those that are", len(filter.IDs)-len(plan))
			}
			if dryRun {
				return a.print(plan, outboxText(plan))
			}
			if len(plan) > 0 && (alwaysAsks || all) {
				if err := a.confirm(ctx, readable.Plural(int64(len(plan)), "failed record")+" will "+becomes+"."); err != nil {
					return err
				}
			}
			r, err := apply(c, ctx, plan)
			if err != nil {
				return err
			}
			text := readable.Plural(int64(len(r.Changed)), "record") + " will " + becomes + ", by the next turn of a relay.\n"
			if len(r.Unchanged) > 0 {
				text += readable.Plural(int64(len(r.Unchanged)), "record") + " left alone: somebody else has decided.\n"
			}

			return a.print(r, text)
		})
	}

	return command
}

// outboxLine is what "status" says of the outbox.
func outboxLine(r ops.Status) string {
	o := r.Outbox
	waiting := readable.Number(o.Waiting)
	if o.Waiting == ops.OutboxCountLimit {
		waiting += " or more"
	}
	text := waiting + " waiting"
	if o.Oldest != nil {
		text += " (the first was published " + readable.Ago(*o.Oldest, r.ReadAt) + ")"
	}

	return text + ", " + readable.Number(o.Failed) + " failed, " + readable.Number(o.Parked) + " parked"
}

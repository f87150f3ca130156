package cli

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/internal/readable"
	"github.com/nova-events/idempotent-consumer/ops"
)

func newLease(a *app) *cobra.Command {
	return group("lease", "List, show and decide leases of effects outside the transaction",
		`A lease is an event whose effect is outside the transaction, and that is not completed. Its states:
    running     an attempt is running
    released    the last attempt failed without an effect; the next one may begin at UNTIL
    unknown     nobody knows whether the last attempt took effect; the service finds out, or runs it
                again, when the event is delivered again
    undecided   nobody knows, and an operator has to decide: "lease decide"`,
		newLeaseList(a), newLeaseShow(a), newLeaseDecide(a))
}

func newLeaseList(a *app) *cobra.Command {
	var state string
	var limit int32
	command := &cobra.Command{
		Use:   "list",
		Short: "List leases, latest first",
		Example: `  idemctl lease list --state undecided
  idemctl lease list --consumer payments`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return a.listLeases(command, state, limit) },
	}
	a.consumerFlag(command, "`NAME` of the consumer whose leases are meant (default: all)")
	command.Flags().StringVarP(&state, "state", "s", "all", "a `STATE` of those that \"idemctl lease --help\" lists, or all")
	command.Flags().Int32Var(&limit, "limit", 100, "list at most `N` (0: all)")

	return command
}

func (a *app) listLeases(command *cobra.Command, state string, limit int32) error {
	filter := ops.LeaseFilter{Consumer: a.settings.consumer, Limit: limit}
	if limit > 0 && limit < math.MaxInt32 {
		filter.Limit++ // To see whether there are more.
	}
	switch {
	case slices.Contains(ops.LeaseStates(), ops.LeaseState(state)):
		filter.States = []ops.LeaseState{ops.LeaseState(state)}
	case state != "all":
		return fail(exitUsage, "--state %s: it must be running, released, unknown, undecided or all", readable.Name(readable.Short(state)))
	}

	return a.withTables(command, func(ctx context.Context, c *ops.Client) error {
		list, err := c.Leases(ctx, filter)
		if err != nil {
			return err
		}
		more := limit > 0 && len(list) > int(limit)
		if more {
			list = list[:limit]
		}
		if err := a.print(list, leasesText(list)); err != nil {
			return err
		}
		if more {
			_, _ = fmt.Fprintf(a.Stderr, "There are more than these %s: raise --limit, or choose with the other flags.\n", readable.Number(len(list)))
		}

		return nil
	})
}

func leasesText(list []ops.Lease) string {
	if len(list) == 0 {
		return "No lease is chosen.\n"
	}
	t := table{columns: []column{
		consumerColumn, {name: "EVENT"}, {name: "STATE"}, {name: "ATTEMPTS", number: true}, {name: "UNKNOWN", number: true}, {name: "UNTIL"}, {name: "ERROR"},
	}}
	for _, l := range list {
		t.row(readable.Name(l.Consumer), readable.Name(readable.Short(l.EventID)), string(l.State), readable.Number(l.Attempts), readable.Number(l.Unknown),
			readable.Timestamp(l.Until), readable.Name(readable.Short(strings.ReplaceAll(l.Error, "\n", "; "))))
	}

	return t.String()
}

func newLeaseShow(a *app) *cobra.Command {
	command := &cobra.Command{
		Use:   "show EVENT-ID",
		Short: "Print a lease, with the steps that have taken effect",
		Long: `Prints the lease of an event, and the steps of the event that have taken effect, with their results.

The exit status is 3 if the consumer has no lease of the event.`,
		Example: `  idemctl lease show 4711 --consumer payments`,
		Args:    wants("EVENT-ID"),
		RunE: func(command *cobra.Command, args []string) error {
			if err := a.needConsumer(); err != nil {
				return err
			}

			return a.withTables(command, func(ctx context.Context, c *ops.Client) error {
				lease, err := c.Lease(ctx, a.settings.consumer, args[0])
				if err != nil {
					return err
				}

				return a.print(lease, leaseText(lease))
			})
		},
	}
	a.consumerFlag(command, "`NAME` of the consumer whose lease is meant")

	return command
}

func leaseText(l ops.LeaseDetails) string {
	pairs := [][2]string{
		{"event", readable.Name(l.EventID) + " of " + readable.Name(l.Consumer)},
		{"state", string(l.State)},
		{"attempts", fmt.Sprintf("%s, of which %s may have taken effect", readable.Number(l.Attempts), readable.Number(l.Unknown))},
		{"first", readable.Timestamp(l.FirstAt)},
		{"until", readable.Timestamp(l.Until)},
	}
	if l.Error != "" {
		pairs = append(pairs, [2]string{"error", escapeLines(l.Error)})
	}
	if d := l.Decision; d != nil {
		pairs = append(pairs, [2]string{"run again", readable.Timestamp(d.At) + " by " + readable.Name(d.By) + ": " + readable.Name(d.Reason)})
	}
	for _, step := range l.Steps {
		pairs = append(pairs, [2]string{"step", readable.Name(step.Name) + ", took effect " + readable.Timestamp(step.StoredAt) + ", " + readable.Name(step.ContentType) + " " + bytesOnLines(step.Body)})
	}

	return facts(pairs...)
}

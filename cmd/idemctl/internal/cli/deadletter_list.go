package cli

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/internal/readable"
	"github.com/nova-events/idempotent-consumer/ops"
)

func newDeadLetterList(a *app) *cobra.Command {
	var flags deadLetterFlags
	command := &cobra.Command{
		Use:   "list",
		Short: "List dead letters, newest first",
		Long: `Lists the dead letters that match all filters, the latest first. FAILED is when the last attempt
failed, or when "reprocess" requested the record. ID is the beginning of the id, as long as needed. If
there are more than --limit, a line on stderr says so.`,
		Example: `  idemctl deadletter list --consumer orders
  idemctl deadletter list --state open --error "connection refused" --since 2h
  idemctl deadletter list --event-id 4711 --state all`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return a.listDeadLetters(command, flags) },
	}
	a.addDeadLetterFlags(command, &flags, ops.AllStates(), "unresolved", "a `STATE` of those that \"idemctl deadletter --help\" lists, or unresolved, or all",
		100, "list at most `N` (0: all)")

	return command
}

func (a *app) listDeadLetters(command *cobra.Command, flags deadLetterFlags) error {
	if _, err := filtered(command); err != nil {
		return err
	}
	filter, err := flags.filter(ops.AllStates())
	if err != nil {
		return err
	}
	filter.Consumer = a.settings.consumer
	if flags.limit > 0 && flags.limit < math.MaxInt32 {
		filter.Limit++ // To see whether there are more.
	}

	return a.withTables(command, func(ctx context.Context, c *ops.Client) error {
		list, err := c.DeadLetters(ctx, filter)
		if err != nil {
			return err
		}
		more := flags.limit > 0 && len(list) > int(flags.limit)
		if more {
			list = list[:flags.limit]
		}
		text := deadLettersText(list)
		if slices.ContainsFunc(list, func(l ops.DeadLetter) bool { return l.Awaits != nil }) {
			text += "\nParked ones follow by themselves. What they wait for:\n    idemctl deadletter list --state open" + a.schemaFlag() + "\n"
		}
		if err := a.print(list, text); err != nil {
			return err
		}
		if more {
			_, _ = fmt.Fprintf(a.Stderr, "There are more than these %s: raise --limit, or choose with the other flags.\n", readable.Number(len(list)))
		}

		return nil
	})
}

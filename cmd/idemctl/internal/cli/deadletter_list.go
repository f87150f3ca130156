package cli

import (
	"context"
	"fmt"
	"math"

	"github.com/spf13/cobra"
)

func newDeadLetterList(a *app) *cobra.Command {
	var filter deadLetterFilter
	command := &cobra.Command{
		Use:   "list",
		Short: "List dead letters, newest first",
		Long: `Lists the dead letters that pass all filters, those that were stored last first. FAILED is when
the last attempt failed, or when "reprocess" asked for the record. ID is the beginning of the id, as
long as is needed. If there are more than --limit, a line on stderr says so.`,
		Example: `  idemctl deadletter list --consumer orders
  idemctl deadletter list --state open --error "connection refused" --since 2h
  idemctl deadletter list --event-id 4711 --state all`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return a.listDeadLetters(command, filter) },
	}
	a.deadLetterFlags(command, &filter, "unresolved", "a `STATE` of those that \"idemctl deadletter --help\" lists, or unresolved, or all",
		100, "list at most `N` (0: all)")

	return command
}

func (a *app) listDeadLetters(command *cobra.Command, filter deadLetterFilter) error {
	if _, err := filtered(command); err != nil {
		return err
	}
	params, err := filter.params(allStates)
	if err != nil {
		return err
	}
	if filter.limit > 0 && filter.limit < math.MaxInt32 {
		oneMore := filter.limit + 1
		params.MaxRows = &oneMore
	}

	return a.withStore(command, func(ctx context.Context, s *store) error {
		list, err := s.deadLetters(ctx, a.settings.consumer, params)
		if err != nil {
			return err
		}
		more := filter.limit > 0 && len(list) > int(filter.limit)
		if more {
			list = list[:filter.limit]
		}
		if err := a.print(list); err != nil {
			return err
		}
		if more {
			_, _ = fmt.Fprintf(a.Stderr, "There are more than these %s: raise --limit, or choose with the other flags.\n", number(len(list)))
		}

		return nil
	})
}

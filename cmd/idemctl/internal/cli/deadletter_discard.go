package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func newDeadLetterDiscard(a *app) *cobra.Command {
	return a.letterChangeCommand(&cobra.Command{
		Use:   "discard [ID...]",
		Short: "Give unresolved dead letters up",
		Long: `Gives unresolved dead letters up for ever: they are never processed, and their events stay
marked as processed. The letters themselves are kept. Parked letters that waited only for those
are released: the consumer processes them. Always asks before it does so.

` + chooseHelp,
		Example: `  idemctl deadletter discard 17
  idemctl deadletter discard --consumer orders --topic payments --since 2h --dry-run`,
	}, letterChange{
		from:       unresolvedStates,
		done:       "discarded",
		alwaysAsks: true,
		apply: func(ctx context.Context, s *store, ids []int64) ([]int64, error) {
			return s.queries.DeadLetterDiscard(ctx, s.conn, ids)
		},
		warning: discardWarning,
	})
}

func discardWarning(ctx context.Context, s *store, chosen letterList) (string, error) {
	released, err := s.queries.DeadLetterCountReleased(ctx, s.conn, chosen.ids())
	if err != nil {
		return "", fmt.Errorf("count the parked letters behind them: %w", err)
	}
	follow := ""
	if released > 0 {
		follow = plural(released, "parked letter") + " of the same keys waited for that: the consumer processes what follows, without what is discarded."
	}

	return lines(chosen.sum()+" will be discarded: never processed, which nothing takes back.", follow), nil
}

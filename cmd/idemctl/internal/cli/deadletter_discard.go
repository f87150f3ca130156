package cli

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/db"
)

func newDeadLetterDiscard(a *app) *cobra.Command {
	return a.deadLetterChangeCommand(&cobra.Command{
		Use:   "discard [ID...]",
		Short: "Give unresolved dead letters up",
		Long: `Gives unresolved dead letters up for ever: they are never processed, and their events stay
marked as processed. The dead letters themselves are kept. Parked ones that waited only for those
are released: the consumer processes them. Always asks before it does so.

` + chooseHelp,
		Example: `  idemctl deadletter discard 0199c2a4
  idemctl deadletter discard --consumer orders --topic payments --since 2h --dry-run`,
	}, deadLetterChange{
		from:       unresolvedStates,
		done:       "discarded",
		alwaysAsks: true,
		apply: func(ctx context.Context, s *store, of deadLetterList) ([]uuid.UUID, error) {
			guard, err := s.guard(ctx, of[0].Consumer)
			if err != nil {
				return nil, err
			}

			return guard.DiscardDeadLetters(ctx, of.ids()...)
		},
		warning: discardWarning,
	})
}

func discardWarning(ctx context.Context, s *store, chosen deadLetterList) (string, error) {
	released := int64(0)
	for _, of := range chosen.byConsumer() {
		n, err := s.queries.DeadLetterCountReleased(ctx, s.conn, db.DeadLetterCountReleasedParams{ConsumerID: of[0].consumerID, Ids: texts(of.ids())})
		if err != nil {
			return "", fmt.Errorf("count the parked dead letters behind them: %w", err)
		}
		released += n
	}
	follow := ""
	if released > 0 {
		follow = plural(released, "parked dead letter") + " of the same keys waited for that: the consumer processes what follows, without what is discarded."
	}

	return lines(chosen.sum()+" will be discarded: never processed, which nothing takes back.", follow), nil
}

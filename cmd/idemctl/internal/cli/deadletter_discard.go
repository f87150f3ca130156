package cli

import (
	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/readable"
	"github.com/nova-events/idempotent-consumer/ops"
)

func newDeadLetterDiscard(a *app) *cobra.Command {
	return a.deadLetterChangeCommand(&cobra.Command{
		Use:   "discard [ID...]",
		Short: "Discard unresolved dead letters",
		Long: `Discards unresolved dead letters for ever: they are never processed, and their events stay
marked as processed. The dead letters themselves are kept. Parked ones that waited only for these
are released: the consumer processes them. The command always asks first.

` + chooseHelp,
		Example: `  idemctl deadletter discard 0199c2a4
  idemctl deadletter discard --consumer orders --topic payments --since 2h --dry-run`,
	}, deadLetterChange{
		from:       ops.UnresolvedStates(),
		to:         []idem.DeadLetterState{idem.DeadLetterDiscarded},
		done:       "discarded",
		alwaysAsks: true,
		plan:       (*ops.Client).PlanDiscard,
		apply:      (*ops.Client).DiscardDeadLetters,
		warning:    discardWarning,
	})
}

func discardWarning(plan ops.DeadLetterPlan) string {
	follow := ""
	if plan.Released > 0 {
		follow = readable.Plural(plan.Released, "parked dead letter") + " of the same keys waited for that: the consumer processes what follows, without what is discarded."
	}

	return lines(sum(plan.DeadLetters)+" will be discarded: never processed, which nothing takes back.", follow)
}

package cli

import (
	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/ops"
)

func newDeadLetterReplay(a *app) *cobra.Command {
	return a.deadLetterChangeCommand(&cobra.Command{
		Use:   "replay [ID...]",
		Short: "Request that open dead letters are processed again",
		Long: `Requests that open dead letters are processed again. The consumer that owns their partitions looks
for them every 5 s (ReplayInterval) while it runs and is not paused, and processes them after the
records that it has in work; a partition whose breaker is open waits. Config.EventID makes the event id of each record anew. A
dead letter that fails again is open again. If another delivery of its event was processed meanwhile,
it is superseded, not processed. Parked dead letters behind it follow by themselves.

` + chooseHelp + `
The command asks before it replays what filters have chosen. Dead letters that are given by id are replayed at once.`,
		Example: `  idemctl deadletter replay 0199c2a4 0199c2b7
  idemctl deadletter replay --consumer orders --error "connection refused" --dry-run
  idemctl deadletter replay --all --yes`,
	}, deadLetterChange{
		from:  ops.ReplayableStates(),
		to:    []idem.DeadLetterState{idem.DeadLetterReplay, idem.DeadLetterReplayed},
		done:  "set to be replayed",
		plan:  (*ops.Client).PlanReplay,
		apply: (*ops.Client).ReplayDeadLetters,
		warning: func(plan ops.DeadLetterPlan) string {
			return sum(plan.DeadLetters) + " will be processed again."
		},
		after: func(schemaFlag string) string {
			return lines(
				"The consumer that owns their partitions looks for them every 5 s (ReplayInterval), if it runs and is not paused. To watch:",
				"    idemctl deadletter list --state replay"+schemaFlag+"   those that wait for it",
				"    idemctl deadletter list --state open"+schemaFlag+"     those that failed again") + "\n"
		},
	})
}

package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/internal/readable"
	"github.com/nova-events/idempotent-consumer/ops"
)

func newCleanup(a *app) *cobra.Command {
	var dryRun bool
	command := &cobra.Command{
		Use:   "cleanup",
		Short: "Forget the events that are older than their consumer's retention",
		Long: `Forgets the events of all consumers that are older than their consumer's retention, in one
pass over the table, and removes resolved dead letters and abandoned leases that are older. It works
in transactions of about 5 ms and can run at any time; a signal ends it between two of them.
Services that run a Cleaner do not need it.

It skips events that somebody has locked, until the next pass. Only one process cleans up at a
time; the exit status is 5 if another one does.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return a.cleanup(command, dryRun) },
	}
	command.Flags().BoolVarP(&dryRun, "dry-run", "n", false, "only count what would be forgotten and removed")

	return command
}

func (a *app) cleanup(command *cobra.Command, dryRun bool) error {
	return a.withTables(command, func(ctx context.Context, c *ops.Client) error {
		if dryRun {
			plan, err := c.PlanCleanup(ctx)
			if err != nil {
				return err
			}

			return a.print(plan, cleanupPlanText(plan))
		}
		bar := a.progress("cleaning up")
		defer bar.end()
		r, err := c.Cleanup(ctx, bar.set)
		bar.end()

		return a.finish(r, cleaningText(r), err)
	})
}

func cleaningText(r ops.CleanupResult) string {
	t := table{columns: []column{consumerColumn, {name: "FORGOTTEN", number: true}}}
	for _, c := range r.Consumers {
		t.row(readable.Name(c.Consumer), readable.Number(c.Deleted))
	}
	text := fmt.Sprintf("%s forgotten in %v.\n", readable.Events(r.Deleted), r.Elapsed.Duration().Round(time.Millisecond))
	text += besides(r.DeadLetters, r.Leases, "removed")
	if len(t.rows) > 0 {
		text = t.String() + "\n" + text
	}

	return text
}

func cleanupPlanText(r ops.CleanupPlan) string {
	t := table{columns: []column{consumerColumn, {name: "EXPIRED", number: true}}}
	for _, c := range r.Consumers {
		t.row(readable.Name(c.Consumer), readable.Number(c.Expired))
	}
	text := besides(r.DeadLetters, r.Leases, "would be removed") + readable.Events(r.Expired) + " would be forgotten; nothing was changed.\n"
	if len(t.rows) > 0 {
		text = t.String() + "\n" + text
	}

	return text
}

// besides says what else than events a cleanup removes.
func besides(deadLetters, leases int64, removed string) (text string) {
	if deadLetters > 0 {
		text += readable.Plural(deadLetters, "resolved dead letter") + " " + removed + ".\n"
	}
	if leases > 0 {
		text += readable.Plural(leases, "lease") + " of events to which nobody has come back " + removed + ".\n"
	}

	return text
}

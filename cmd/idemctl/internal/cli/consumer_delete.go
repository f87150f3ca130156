package cli

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/internal/readable"
	"github.com/nova-events/idempotent-consumer/ops"
)

func newConsumerDelete(a *app) *cobra.Command {
	var watch time.Duration
	command := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a consumer with all that it remembers",
		Long: `Deletes a consumer with its events, checkpoints, dead letters and leases, in transactions of 5,000
rows. It counts them and asks first. If a service uses the name later, it starts from the beginning: events
that were processed are processed again when they come again.

` + runningHelp,
		Args: wants("NAME"),
		RunE: func(command *cobra.Command, args []string) error { return a.deleteConsumer(command, args[0], watch) },
	}
	watchFlag(command, &watch)
	a.yesFlag(command)

	return command
}

func (a *app) deleteConsumer(command *cobra.Command, name string, watch time.Duration) error {
	return a.withTables(command, func(ctx context.Context, c *ops.Client) error {
		plan, err := c.PlanDelete(ctx, name)
		if err != nil {
			return err
		}
		warning := fmt.Sprintf("%s will be forgotten: %s, %s, %s, and %s (%s not resolved).", readable.Name(name), readable.Events(plan.Events),
			readable.Plural(plan.Checkpoints, "checkpoint"), readable.Plural(plan.Leases, "lease"), readable.Plural(plan.DeadLetters, "dead letter"), readable.Number(plan.UnresolvedDeadLetters))
		if err := a.confirm(ctx, warning); err != nil {
			return err
		}
		bar := a.progress("deleting")
		defer bar.end()
		r, err := c.DeleteConsumer(ctx, plan, ops.ChangeOptions{Watch: cmp.Or(watch, 1), Progress: bar.set})
		bar.end()

		return a.finish(r, deleteText(r), err)
	})
}

func deleteText(r ops.DeleteResult) string {
	text := fmt.Sprintf("Deleted of %s: %s, %s, %s, %s.\n", readable.Name(r.Consumer),
		readable.Events(r.Events), readable.Plural(r.Checkpoints, "checkpoint"), readable.Plural(r.DeadLetters, "dead letter"), readable.Plural(r.Leases, "lease"))
	if !r.Complete {
		text += "Not all were deleted; run the same command again.\n"
	}

	return text
}

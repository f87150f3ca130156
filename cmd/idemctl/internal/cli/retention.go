package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/internal/readable"
	"github.com/nova-events/idempotent-consumer/ops"
)

func newConsumerSetRetention(a *app) *cobra.Command {
	command := &cobra.Command{
		Use:   "set-retention NAME DURATION",
		Short: "Change how long a consumer's events are remembered",
		Long: `Changes how long a consumer's events are remembered. Durations are written as 7d, 36h, 1d12h or in
Go's form. The next cleanup uses the new retention; what is forgotten already stays forgotten. If a
shorter retention makes events expire, the command asks first.

Services that configure another retention than the registered one are refused when they next
start: change their configuration too, or use the registered retention (zero).`,
		Example: `  idemctl consumer set-retention orders 14d`,
		Args:    wants("NAME", "DURATION"),
		RunE: func(command *cobra.Command, args []string) error {
			retention, err := parseDuration(args[1])
			if err != nil {
				return fail(exitUsage, "%w", err)
			}
			if retention%time.Microsecond != 0 {
				return fail(exitUsage, "%q is finer than PostgreSQL's microseconds", args[1])
			}

			return a.setRetention(command, args[0], retention)
		},
	}
	a.yesFlag(command)

	return command
}

func (a *app) setRetention(command *cobra.Command, name string, retention time.Duration) error {
	return a.withTables(command, func(ctx context.Context, c *ops.Client) error {
		plan, err := c.PlanRetention(ctx, name, retention)
		if err != nil {
			return err
		}
		if plan.NewlyExpired > 0 {
			err := a.confirm(ctx, fmt.Sprintf("With a retention of %s instead of %s, %s of %s expire at once. When delivered again after the next cleanup, they will be processed again.",
				readable.Duration(retention), readable.Duration(plan.Previous.Duration()), readable.Events(plan.NewlyExpired), readable.Name(name)))
			if err != nil {
				return err
			}
		}
		if err := c.SetRetention(ctx, plan); err != nil {
			return err
		}

		return a.print(plan, retentionText(plan))
	})
}

func retentionText(r ops.RetentionPlan) string {
	text := fmt.Sprintf("The retention of %s is %s; it was %s.\n",
		readable.Name(r.Consumer), readable.Duration(r.Retention.Duration()), readable.Duration(r.Previous.Duration()))
	if r.NewlyExpired > 0 {
		text += readable.Events(r.NewlyExpired) + " more expired by that; the next cleanup forgets them.\n"
	}

	return text
}

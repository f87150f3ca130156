package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/internal/readable"
	"github.com/nova-events/idempotent-consumer/ops"
)

func newForget(a *app) *cobra.Command {
	var file string
	command := &cobra.Command{
		Use:   "forget EVENT-ID...",
		Short: "Forget events, so that they are processed again",
		Long: `Forgets that a consumer processed events. When they are delivered again they are processed
again; their first effects stay. The command asks first.

` + idsHelp,
		Example: `  idemctl forget 4711 --consumer orders
  idemctl forget --file ids.txt --consumer orders --yes`,
		RunE: func(command *cobra.Command, args []string) error { return a.forget(command, args, file) },
	}
	a.consumerFlag(command, "`NAME` of the consumer that shall process the events again")
	fileFlag(command, &file)
	a.yesFlag(command)

	return command
}

func (a *app) forget(command *cobra.Command, args []string, file string) error {
	if err := a.needConsumer(); err != nil {
		return err
	}
	given, err := a.readEventIDs(command.Context(), args, file)
	if err != nil {
		return err
	}
	warning := fmt.Sprintf("%s will be processed again by %s when delivered again; what was done the first time stays done.",
		readable.Events(int64(len(given.ids))), readable.Name(a.settings.consumer))
	if given.fromStdin && !a.settings.yes {
		return unconfirmed(warning) // Stdin cannot bring the ids and an answer.
	}

	return a.withTables(command, func(ctx context.Context, c *ops.Client) error {
		if _, err := c.Consumer(ctx, a.settings.consumer); err != nil {
			return err
		}
		if err := a.confirm(ctx, warning); err != nil {
			return err
		}
		bar := a.progress("forgetting")
		defer bar.end()
		r, err := c.ForgetEvents(ctx, a.settings.consumer, given.ids, bar.set)
		bar.end()
		if r.Complete && r.Forgotten == 0 && r.Unknown > 0 {
			err = fail(exitNotFound, "nothing was forgotten: %s knows none of these events, and processes them when they are delivered; \"idemctl explain\" says more", readable.Name(r.Consumer))
		}

		return a.finish(r, forgetText(r), err)
	})
}

func forgetText(r ops.ForgetResult) string {
	text := fmt.Sprintf("%s forgotten for %s, %s not known.\n", readable.Events(r.Forgotten), readable.Name(r.Consumer), readable.Number(r.Unknown))
	if !r.Complete {
		text += readable.Events(int64(r.Events)-r.Forgotten-r.Unknown) + " not forgotten yet; run the same command again.\n"
	}

	return text
}

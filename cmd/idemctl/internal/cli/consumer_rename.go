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

func newConsumerRename(a *app) *cobra.Command {
	var watch time.Duration
	command := &cobra.Command{
		Use:   "rename OLD NEW",
		Short: "Rename a consumer, with all that it remembers",
		Long: `Gives a consumer another name: its events, checkpoints, dead letters, retention and binding. The
id in all tables follows from the name, so all rows are moved, in transactions of 5,000. There must be
no consumer of the new name yet.

Decide about leases of unknown effect first ("idemctl lease list"): the keys that other systems get have
the consumer's name, so an attempt after the rename is a new request to them, and a second effect.

` + runningHelp,
		Example: `  idemctl consumer rename payments billing`,
		Args:    wants("OLD", "NEW"),
		RunE:    func(command *cobra.Command, args []string) error { return a.rename(command, args[0], args[1], watch) },
	}
	watchFlag(command, &watch)

	return command
}

func (a *app) rename(command *cobra.Command, from, to string, watch time.Duration) error {
	return a.withTables(command, func(ctx context.Context, c *ops.Client) error {
		bar := a.progress("moving")
		defer bar.end()
		r, err := c.RenameConsumer(ctx, from, to, ops.ChangeOptions{Watch: cmp.Or(watch, 1), Progress: bar.set})
		bar.end()

		return a.finish(r, renameText(r), err)
	})
}

func renameText(r ops.RenameResult) string {
	text := fmt.Sprintf("Moved from %s to %s: %s, %s, %s, %s.\n", readable.Name(r.Previous), readable.Name(r.Consumer),
		readable.Events(r.Events), readable.Plural(r.Checkpoints, "checkpoint"), readable.Plural(r.DeadLetters, "dead letter"), readable.Plural(r.Leases, "lease"))
	if !r.Complete {
		text += "Not all were moved; run the same command again.\n"
	}

	return text
}

const runningHelp = `Stop the consumer first. The command watches the consumer (--watch) and changes nothing if it
processes anything in that time. From then on the consumer cannot be registered until the command has
ended, and a service that still runs with checkpoints is refused. A service that has no checkpoints
and commits nothing in that time is not noticed.

After a crash or a signal, run the same command again: it continues.`

func watchFlag(command *cobra.Command, watch *time.Duration) {
	command.Flags().DurationVar(watch, "watch", ops.DefaultWatch, "how long to watch whether the consumer runs")
}

package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/internal/readable"
	"github.com/nova-events/idempotent-consumer/ops"
)

func newMark(a *app) *cobra.Command {
	var file string
	command := &cobra.Command{
		Use:   "mark EVENT-ID...",
		Short: "Mark events as processed without processing them",
		Long: `Marks events as processed for a consumer, without processing them: when they are delivered
they count as duplicates. Events that are processed already do not change.

` + idsHelp,
		Example: `  idemctl mark 4711 4712 --consumer orders
  psql -Atc 'SELECT event_id FROM handled' | idemctl mark - --consumer orders`,
		RunE: func(command *cobra.Command, args []string) error { return a.mark(command, args, file) },
	}
	a.consumerFlag(command, "`NAME` of the consumer that shall not process the events")
	fileFlag(command, &file)

	return command
}

func (a *app) mark(command *cobra.Command, args []string, file string) error {
	if err := a.needConsumer(); err != nil {
		return err
	}
	given, err := a.readEventIDs(command.Context(), args, file)
	if err != nil {
		return err
	}

	return a.withTables(command, func(ctx context.Context, c *ops.Client) error {
		bar := a.progress("marking")
		defer bar.end()
		r, err := c.MarkEvents(ctx, a.settings.consumer, given.ids, bar.set)
		bar.end()

		return a.finish(r, markText(r), err)
	})
}

func markText(r ops.MarkResult) string {
	text := fmt.Sprintf("%s marked as processed for %s, %s processed before.\n", readable.Events(r.Marked), readable.Name(r.Consumer), readable.Number(r.AlreadyProcessed))
	if !r.Complete {
		text += readable.Events(int64(r.Events)-r.Marked-r.AlreadyProcessed) + " not marked yet; run the same command again.\n"
	}

	return text
}

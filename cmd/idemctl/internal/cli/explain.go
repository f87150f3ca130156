package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/internal/readable"
	"github.com/nova-events/idempotent-consumer/ops"
)

func newExplain(a *app) *cobra.Command {
	command := &cobra.Command{
		Use:   "explain EVENT-ID",
		Short: "Tell what became of an event, in the order of time",
		Long: `Tells all that is stored of an event: when it was processed and by which call, how its record
failed, what became of its dead letters and of requests to process it again, where the checkpoint
of its partition is, and when the event will be forgotten; attempts at its effect outside the
transaction, their steps and results, and what an operator decided; and the records with this
event id in the outbox. For one consumer, or without --consumer for all that know the event. Times
are UTC, by the clock of the database unless the text says otherwise.

The exit status is 3 if nothing is stored; the text then says what that can mean.`,
		Example: `  idemctl explain 4711
  idemctl explain 4711 --consumer orders --json`,
		Args: wants("EVENT-ID"),
		RunE: func(command *cobra.Command, args []string) error { return a.explain(command, args[0]) },
	}
	a.consumerFlag(command, "`NAME` of the consumer to ask (default: all)")

	return command
}

func (a *app) explain(command *cobra.Command, eventID string) error {
	if err := checkEventID(eventID); err != nil {
		return err
	}

	return a.withTables(command, func(ctx context.Context, c *ops.Client) error {
		story, err := c.Explain(ctx, a.settings.consumer, eventID)
		if err != nil {
			return err
		}
		if err := a.print(story, storyText(story)); err != nil {
			return err
		}
		if !story.Known() {
			return fail(exitNotFound, "nothing is stored of the event %s", readable.Name(readable.Short(eventID)))
		}

		return nil
	})
}

// storyText has a line for each entry. Its texts are printable already.
func storyText(s ops.Story) string {
	lines := make([][2]string, len(s.Entries))
	for i, e := range s.Entries {
		when := readable.Timestamp(e.At)
		if e.At.Equal(s.ToldAt) {
			when = "now"
		}
		text := e.Text
		if e.Consumer != "" {
			text = readable.Name(e.Consumer) + ": " + text
		}
		lines[i] = [2]string{when, text}
	}

	return facts(lines...)
}

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/internal/readable"
	"github.com/nova-events/idempotent-consumer/ops"
)

func newShow(a *app) *cobra.Command {
	command := &cobra.Command{
		Use:   "show EVENT-ID",
		Short: "Show who processed an event, and when",
		Long: `Shows when an event was processed, by which claim and with what metadata: for one consumer,
or without --consumer for all that know the event.

The exit status is 3 if the event is not known: it was not processed, or retention or "forget"
has removed it since. A transaction that is processing it right now is not visible.`,
		Args: wants("EVENT-ID"),
		RunE: func(command *cobra.Command, args []string) error { return a.show(command, args[0]) },
	}
	a.consumerFlag(command, "`NAME` of the consumer to look at (default: all)")

	return command
}

func (a *app) show(command *cobra.Command, eventID string) error {
	if err := checkEventID(eventID); err != nil {
		return err
	}

	return a.withTables(command, func(ctx context.Context, c *ops.Client) error {
		found, err := c.Events(ctx, a.settings.consumer, eventID)
		if err != nil {
			return err
		}
		if err := a.print(found, eventsText(found)); err != nil {
			return err
		}
		if len(found) > 0 {
			return nil
		}
		by := "any consumer"
		if a.settings.consumer != "" {
			by = readable.Name(a.settings.consumer)
		}

		return fail(exitNotFound, "event %s is not known as processed by %s: it never was, or it is forgotten", readable.Name(readable.Short(eventID)), by)
	})
}

func eventsText(all []ops.Event) string {
	parts := make([]string, len(all))
	for i, e := range all {
		parts[i] = eventText(e)
	}

	return strings.Join(parts, "\n")
}

func eventText(e ops.Event) string {
	now := time.Now()
	expires := readable.Ago(e.ExpiresAt, now)
	if e.ExpiresAt.Before(now) {
		expires += ": the next cleanup forgets it"
	}
	claim := e.ClaimID.String()
	if e.ClaimID.Version() == 7 {
		claim += " (made " + readable.Timestamp(time.Unix(e.ClaimID.Time().UnixTime())) + " by the claimer's clock)"
	}
	pairs := [][2]string{
		{"consumer", readable.Name(e.Consumer)},
		{"event id", readable.Name(e.EventID)},
		{"processed", readable.Timestamp(e.ProcessedAt) + " (" + readable.Ago(e.ProcessedAt, now) + ")"},
		{"expires", readable.Timestamp(e.ExpiresAt) + " (" + expires + "; retention " + readable.Duration(e.Retention) + ")"},
		{"claim id", claim},
		{"key", e.Key.String()},
	}
	if e.Metadata != nil {
		var indented bytes.Buffer
		_ = json.Indent(&indented, e.Metadata, "", "  ") // It comes from a jsonb.
		pairs = append(pairs, [2]string{"metadata", escapeJSON(indented.String())})
	}

	return facts(pairs...)
}

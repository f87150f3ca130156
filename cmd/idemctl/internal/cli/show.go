package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/idem"
)

func newShow(a *app) *cobra.Command {
	command := &cobra.Command{
		Use:   "show EVENT-ID",
		Short: "Tell who processed an event, and when",
		Long: `Tells when an event was processed, by which claim and with what metadata: for one consumer,
or without --consumer for all that know the event.

The exit status is 3 if the event is not known: it was not processed, or retention or "forget"
has removed it since. A transaction that is processing it right now does not show.`,
		Args: wants("EVENT-ID"),
		RunE: func(command *cobra.Command, args []string) error { return a.show(command, args[0]) },
	}
	a.consumerFlag(command, "`NAME` of the consumer to look at (default: all)")

	return command
}

// showReport are the consumers that know the event.
type showReport []shownEvent

type shownEvent struct {
	Consumer    string          `json:"consumer"`
	EventID     string          `json:"event_id"`
	Key         uuid.UUID       `json:"key"`
	ClaimID     uuid.UUID       `json:"claim_id"`
	ProcessedAt time.Time       `json:"processed_at"`
	ExpiresAt   time.Time       `json:"expires_at"`
	Metadata    json.RawMessage `json:"metadata"` // null if there is none

	retention time.Duration
}

func (r showReport) text() string {
	parts := make([]string, len(r))
	for i, e := range r {
		parts[i] = e.text()
	}

	return strings.Join(parts, "\n")
}

func (e shownEvent) text() string {
	now := time.Now()
	expires := ago(e.ExpiresAt, now)
	if e.ExpiresAt.Before(now) {
		expires += ": the next cleanup forgets it"
	}
	claim := e.ClaimID.String()
	if e.ClaimID.Version() == 7 {
		claim += " (made " + timestamp(time.Unix(e.ClaimID.Time().UnixTime())) + " by the claimer's clock)"
	}
	pairs := [][2]string{
		{"consumer", printable(e.Consumer)},
		{"event id", printable(e.EventID)},
		{"processed", timestamp(e.ProcessedAt) + " (" + ago(e.ProcessedAt, now) + ")"},
		{"expires", timestamp(e.ExpiresAt) + " (" + expires + "; retention " + duration(e.retention) + ")"},
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

func (a *app) show(command *cobra.Command, eventID string) error {
	if err := checkEventID(eventID); err != nil {
		return fail(exitUsage, "event id %s: %w", printable(shorten(eventID)), err)
	}

	return a.withStore(command, func(ctx context.Context, s *store) error {
		consumers, err := s.consumers(ctx, a.settings.consumer)
		if err != nil {
			return err
		}
		found := showReport{}
		for _, c := range consumers {
			event, err := s.queries.EventGet(ctx, s.conn, db.EventGetParams{ConsumerID: c.ID, Key: idem.Key(eventID)})
			if errors.Is(err, pgx.ErrNoRows) {
				continue
			}
			if err != nil {
				return fmt.Errorf("look up the event: %w", err)
			}
			processed := bounded(time.UnixMicro(event.ProcessedMicros).UTC())
			found = append(found, shownEvent{
				Consumer: c.Name, EventID: eventID, Key: event.Key, ClaimID: event.ClaimID,
				ProcessedAt: processed, ExpiresAt: bounded(processed.Add(c.Retention)),
				Metadata: event.Metadata, retention: c.Retention,
			})
		}
		if err := a.print(found); err != nil {
			return err
		}
		if len(found) > 0 {
			return nil
		}
		by := "any consumer"
		if a.settings.consumer != "" {
			by = printable(a.settings.consumer)
		}

		return fail(exitNotFound, "event %s is not known as processed by %s: it never was, or it is forgotten", printable(shorten(eventID)), by)
	})
}

// consumers is the consumer of that name, or all of them where name is empty.
func (s *store) consumers(ctx context.Context, name string) ([]db.Consumer, error) {
	if name != "" {
		one, err := s.consumer(ctx, name)

		return []db.Consumer{one}, err
	}
	all, err := s.queries.ConsumerList(ctx, s.conn)
	if err != nil {
		return nil, fmt.Errorf("list the consumers: %w", err)
	}

	return all, nil
}

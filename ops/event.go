package ops

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/readable"
)

// Event is a processed event, as one consumer remembers it.
type Event struct {
	Consumer    string          `json:"consumer"`
	EventID     string          `json:"event_id"`
	Key         uuid.UUID       `json:"key"`
	ClaimID     uuid.UUID       `json:"claim_id"`
	ProcessedAt time.Time       `json:"processed_at"`
	ExpiresAt   time.Time       `json:"expires_at"`
	Metadata    json.RawMessage `json:"metadata"` // null if there is none

	Retention time.Duration `json:"-"` // of the consumer
}

// CheckEventID finds what the guard would refuse as an event id. Errors wrap ErrInvalid.
func CheckEventID(id string) error {
	switch {
	case id == "":
		return invalid("it is empty")
	case len(id) > idem.MaxEventIDBytes:
		return invalid("it has %s bytes, %s are allowed", readable.Number(len(id)), readable.Number(idem.MaxEventIDBytes))
	case !utf8.ValidString(id) || strings.ContainsRune(id, 0):
		return invalid("it is not UTF-8 without NUL bytes")
	default:
		return nil
	}
}

// checkEventID is CheckEventID with the id in its error.
func checkEventID(id string) error {
	if err := CheckEventID(id); err != nil {
		return invalid("event id %s: %w", readable.Name(readable.Short(id)), err)
	}

	return nil
}

// Events returns what a consumer, or each where the name is empty, remembers of an event; nothing if that was
// never processed, or is forgotten. A transaction that is processing it right now does not show.
func (c *Client) Events(ctx context.Context, consumer, eventID string) ([]Event, error) {
	if err := checkEventID(eventID); err != nil {
		return nil, err
	}
	consumers, err := c.consumers(ctx, consumer)
	if err != nil {
		return nil, err
	}
	found := []Event{}
	for _, one := range consumers {
		row, err := c.queries.EventGet(ctx, c.conn, db.EventGetParams{ConsumerID: one.id, Key: idem.Key(eventID)})
		if errors.Is(err, pgx.ErrNoRows) {
			continue
		}
		if err != nil {
			return nil, c.failed(ctx, "look up the event", err)
		}
		processed := utc(row.ProcessedMicros)
		expires := processed.Add(one.Retention.Duration())
		if expires.After(lastTime) {
			expires = lastTime
		}
		found = append(found, Event{
			Consumer: one.Name, EventID: eventID, Key: row.Key, ClaimID: row.ClaimID,
			ProcessedAt: processed, ExpiresAt: expires, Metadata: row.Metadata, Retention: one.Retention.Duration(),
		})
	}

	return found, nil
}

// consumers is the consumer of that name, or all of them where name is empty.
func (c *Client) consumers(ctx context.Context, name string) ([]Consumer, error) {
	if name == "" {
		return c.Consumers(ctx)
	}
	one, err := c.consumer(ctx, name)

	return []Consumer{one}, err
}

package ops

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

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
	Fingerprint *string         `json:"fingerprint"` // of the record's value, 16 digits; nil if it is not known
	Metadata    json.RawMessage `json:"metadata"`    // null if there is none

	Retention time.Duration `json:"-"` // of the consumer
}

// CheckEventID returns an error if the guard would refuse the event id. Errors wrap ErrInvalid.
func CheckEventID(id string) error {
	switch {
	case id == "":
		return invalid("it is empty")
	case len(id) > idem.MaxEventIDBytes:
		return invalid("it has %s bytes, %s are allowed", readable.Number(len(id)), readable.Number(idem.MaxEventIDBytes))
	default:
		return checkText("it", id)
	}
}

// checkEventID is CheckEventID with the id in its error.
func checkEventID(id string) error {
	if err := CheckEventID(id); err != nil {
		return invalid("event id %s: %w", readable.Name(readable.Short(id)), err)
	}

	return nil
}

// Events returns what a consumer knows about an event, or all consumers if the name is empty. The result is
// empty if the event was never processed, or is forgotten. A transaction that is processing it right now is
// not visible.
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
		event, known, err := c.event(ctx, one, idem.Key(eventID))
		if err != nil {
			return nil, err
		}
		if known {
			found = append(found, event)
		}
	}

	return found, nil
}

// event returns what a consumer remembers under a key, and whether it does.
func (c *Client) event(ctx context.Context, consumer Consumer, key uuid.UUID) (Event, bool, error) {
	row, err := c.queries.EventGet(ctx, c.conn, db.EventGetParams{ConsumerID: consumer.id, Key: key})
	if errors.Is(err, pgx.ErrNoRows) {
		return Event{}, false, nil
	}
	if err != nil {
		return Event{}, false, c.failed(ctx, "look up the event", err)
	}
	e := Event{
		Consumer: consumer.Name, EventID: key.String(), Key: key, ClaimID: row.ClaimID,
		ProcessedAt: utc(row.ProcessedMicros), Metadata: row.Metadata, Retention: consumer.Retention.Duration(),
	}
	if row.EventID != nil {
		e.EventID = *row.EventID
	}
	if row.Fingerprint != 0 {
		digits := fmt.Sprintf("%016x", row.Fingerprint)
		e.Fingerprint = &digits
	}
	if e.ExpiresAt = e.ProcessedAt.Add(e.Retention); e.ExpiresAt.After(lastTime) {
		e.ExpiresAt = lastTime
	}

	return e, true, nil
}

// storedPlace is the place of an event's record, where that is stored with the event (Config.StoreMetadata).
func (e Event) storedPlace() (RecordPlace, bool) {
	var stored struct {
		Topic     string `json:"topic"`
		Partition *int32 `json:"partition"`
		Offset    *int64 `json:"offset"`
	}
	if json.Unmarshal(e.Metadata, &stored) != nil || stored.Topic == "" || stored.Partition == nil || stored.Offset == nil {
		return RecordPlace{}, false
	}

	return RecordPlace{Consumer: e.Consumer, Topic: stored.Topic, Partition: *stored.Partition, Offset: *stored.Offset}, true
}

// consumers is the consumer of that name, or all of them where name is empty.
func (c *Client) consumers(ctx context.Context, name string) ([]Consumer, error) {
	if name == "" {
		return c.Consumers(ctx)
	}
	one, err := c.consumer(ctx, name)

	return []Consumer{one}, err
}

package ops

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/internal/readable"
)

// StoredResult is what the effect of an event outside the transaction has returned, or a step of it.
type StoredResult struct {
	Consumer    string    `json:"consumer"`
	Step        string    `json:"step"` // its name; empty for the event itself
	StoredAt    time.Time `json:"stored_at"`
	ContentType string    `json:"content_type"`
	Bytes       int64     `json:"bytes"`
}

// tellEffect adds what the leases of one consumer know.
func (c *Client) tellEffect(ctx context.Context, consumer Consumer, t *teller) error {
	key := t.story.Key.String()
	leases, err := c.leases(ctx, db.LeaseListParams{ConsumerID: &consumer.id, Key: &key}, nil)
	if err != nil {
		return err
	}
	for _, lease := range leases {
		t.story.Leases = append(t.story.Leases, lease)
		t.lease(lease)
	}
	rows, err := c.queries.ResultSizes(ctx, c.conn, db.ResultSizesParams{ConsumerID: consumer.id, Key: t.story.Key})
	if err != nil {
		return c.failed(ctx, "look for results", err)
	}
	for _, row := range rows {
		r := StoredResult{Consumer: consumer.Name, Step: row.Step, StoredAt: utc(row.StoredMicros), ContentType: row.ContentType, Bytes: row.Bytes}
		t.story.Results = append(t.story.Results, r)
		t.result(r)
	}

	return nil
}

// tellOutbox adds what the outbox has of the event, whoever published it, among the records that are looked through.
func (c *Client) tellOutbox(ctx context.Context, s *Story) error {
	before, err := c.queries.OutboxBehind(ctx, c.conn, OutboxCountLimit)
	if err != nil {
		return c.failed(ctx, "look into the outbox", err)
	}
	rows, err := c.queries.OutboxOfEvent(ctx, c.conn, db.OutboxOfEventParams{EventID: s.EventID, Before: before, MaxRows: maxTold + 1})
	if err != nil {
		return c.failed(ctx, "look into the outbox", err)
	}
	t := teller{story: s, schemaFlag: c.schemaFlag()}
	if before != math.MaxInt64 {
		t.addf(s.ToldAt, EntryMore, nil, "The outbox holds more than %s records. Only the first ones were looked through for this event.", readable.Number(OutboxCountLimit))
	}
	if len(rows) > maxTold {
		rows = rows[:maxTold]
		t.addf(s.ToldAt, EntryMore, nil, "There are more records of this event in the outbox than the first %d, which are told here.", maxTold)
	}
	for _, row := range rows {
		record := newOutboxRecord(db.OutboxHeldRow(row))
		s.Outbox = append(s.Outbox, record)
		t.published(record)
	}

	return nil
}

// lease tells of an effect that is not completed.
func (t *teller) lease(l Lease) {
	t.addf(l.FirstAt, EntryAttempted, nil, "The first attempt at the effect of the event, outside the transaction, began.")
	if d := l.Decision; d != nil {
		t.decided(*d, "to run it again")
	}
	attempts := fmt.Sprintf("%s began, of which %s may have taken effect", readable.Plural(l.Attempts, "attempt"), readable.Number(l.Unknown))
	if l.Error != "" {
		attempts += "; the last error: " + readable.Name(readable.Short(l.Error))
	}
	now, until := t.story.ToldAt, readable.Timestamp(l.Until)
	switch l.State {
	case LeaseRunning:
		t.addf(now, EntryRunning, nil, "Attempt %d is running. Its lease ends %s, unless it is extended (%s).", l.Attempts, until, attempts)
	case LeaseReleased:
		t.addf(now, EntryWaiting, nil, "The next delivery from %s on runs the effect again (%s).", until, attempts)
	case LeaseUnknown:
		t.addf(now, EntryWaiting, nil, "Since %s nobody knows whether attempt %d took effect. The service decides with the next delivery (%s).", until, l.Attempts, attempts)
	default:
		t.addf(now, EntryWaiting, nil, "Since %s nobody knows whether attempt %d took effect (%s). It waits for somebody to decide: \"idemctl lease decide%s\", with --took-effect or --rerun.",
			until, l.Attempts, attempts, t.schemaFlag)
	}
}

func (t *teller) decided(d Decision, what string) {
	text := readable.Name(d.By) + " decided " + what
	if d.Reason != "" {
		text += ": " + readable.Name(d.Reason)
	}
	t.addf(d.At, EntryDecided, nil, "%s.", text)
}

// result tells of a result that is stored.
func (t *teller) result(r StoredResult) {
	what := readable.Size(r.Bytes)
	if r.ContentType != "" {
		what += " of " + readable.Name(readable.Short(r.ContentType))
	}
	if r.Step == "" {
		t.addf(r.StoredAt, EntryResult, nil, "The result of its effect was stored: %s. Later deliveries get it.", what)
	} else {
		t.addf(r.StoredAt, EntryStep, nil, "Step %s took effect. Its result was stored: %s. Later attempts get it.", readable.Name(r.Step), what)
	}
}

// operatorsDecision is that of a claim which an operator has made (Client.CompleteLease), nil of others.
func (e Event) operatorsDecision() *Decision {
	var stored struct {
		User struct {
			By     string `json:"decided_by"`
			Reason string `json:"decision_reason"`
		} `json:"user"`
	}
	if json.Unmarshal(e.Metadata, &stored) != nil || stored.User.By == "" {
		return nil
	}

	return &Decision{At: e.ProcessedAt, By: stored.User.By, Reason: stored.User.Reason}
}

// published tells of a record of the outbox.
func (t *teller) published(r OutboxRecord) {
	t.addf(r.PublishedAt, EntryPublished, nil, "A record for the topic %s was published with this event id, as record %d of the outbox.", readable.Name(r.Topic), r.ID)
	text := fmt.Sprintf("Record %d of the outbox ", r.ID)
	switch r.State {
	case OutboxWaiting:
		text += "waits for a relay to take it to Kafka."
	case OutboxParked:
		text += "waits behind a failed one of its topic and key."
	case OutboxRetry:
		text += "will be sent again, by the next turn of a relay."
	case OutboxDiscard:
		text += "will be deleted, by the next turn of a relay."
	default:
		text += fmt.Sprintf("is refused by Kafka: %[2]s. It waits for somebody to decide: \"idemctl outbox retry %[1]d%[3]s\" or \"idemctl outbox discard %[1]d%[3]s\".",
			r.ID, readable.Name(readable.Short(r.Error)), t.schemaFlag)
	}
	t.addf(t.story.ToldAt, EntryWaiting, nil, "%s", text)
}

package ops

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/readable"
	"github.com/nova-events/idempotent-consumer/internal/tables"
)

// Story is what the tables tell of one event.
type Story struct {
	EventID string    `json:"event_id"`
	Key     uuid.UUID `json:"key"` // under which the event id is kept
	ToldAt  time.Time `json:"told_at"`

	// Entries are what happened, what is the case now, and what is to come, in the order of time. There is always one.
	Entries []Entry `json:"entries"`

	// These are what the entries are made of, by consumer. The outbox has none: its records are those that were published
	// with the event's id.
	Events      []Event        `json:"events"`
	DeadLetters []DeadLetter   `json:"dead_letters"`
	Leases      []Lease        `json:"leases"`
	Results     []StoredResult `json:"results"`
	Outbox      []OutboxRecord `json:"outbox"`
}

// Known reports whether anything of the event is stored.
func (s Story) Known() bool { return len(s.Events)+len(s.DeadLetters)+len(s.Leases)+len(s.Outbox) > 0 }

// Entry is a sentence of a Story.
type Entry struct {
	// At is when it happened. It is Story.ToldAt for what is the case now, and later for what is to come. Times
	// are those of the database, unless Text says that they are of another clock.
	At       time.Time `json:"at"`
	Consumer string    `json:"consumer"` // empty if it is about all of them
	Kind     EntryKind `json:"kind"`

	// Text is one or more sentences in English, in a single line. What comes from Kafka is printable.
	Text string `json:"text"`

	DeadLetter *uuid.UUID `json:"dead_letter"` // that it is about; nil if about none
}

// EntryKind says what an Entry is about.
type EntryKind string

// The kinds.
const (
	EntryProcessed  EntryKind = "processed"  // the claim of the event
	EntryMarked     EntryKind = "marked"     // the claim of a dead letter: the handler has not taken effect
	EntryFailed     EntryKind = "failed"     // the record, or the replay of its dead letter, failed
	EntryParked     EntryKind = "parked"     // the record was stored behind a dead letter of its key
	EntryRequested  EntryKind = "requested"  // somebody has asked for the record to be processed again
	EntryReplayed   EntryKind = "replayed"   // a dead letter was processed
	EntryDiscarded  EntryKind = "discarded"  // somebody has given a dead letter up
	EntrySuperseded EntryKind = "superseded" // a dead letter was not needed any more
	EntryExpired    EntryKind = "expired"    // a record that was asked for is no longer in Kafka
	EntryAttempted  EntryKind = "attempted"  // the first attempt at an effect outside the transaction
	EntryStep       EntryKind = "step"       // a step of that took effect
	EntryResult     EntryKind = "result"     // the result of the effect was stored
	EntryDecided    EntryKind = "decided"    // somebody has decided about the effect
	EntryRunning    EntryKind = "running"    // an attempt at the effect is running now
	EntryPublished  EntryKind = "published"  // a record with the event's id was published to the outbox
	EntryWaiting    EntryKind = "waiting"    // what a dead letter, an effect or a record of the outbox waits for now
	EntryCheckpoint EntryKind = "checkpoint" // where the checkpoint of the record's partition is now
	EntryForgotten  EntryKind = "forgotten"  // when the event will be forgotten
	EntryUnknown    EntryKind = "unknown"    // nothing is stored, and what that can mean
	EntryMore       EntryKind = "more"       // not all is told: of the event's dead letters, or of the outbox
)

// maxTold is how many dead letters of an event are told, and how many records of the outbox. A producer that gives many records one id
// makes as many.
const maxTold = 200

// Explain tells what became of an event: for one consumer, or where the name is empty for all that know it; and what the outbox has of it.
// It reads one snapshot of the tables; a transaction that is processing the event right now does not show.
// An event of which nothing is stored is no error (Story.Known). Errors wrap ErrInvalid or ErrUnknownConsumer.
func (c *Client) Explain(ctx context.Context, consumer, eventID string) (Story, error) {
	if err := checkEventID(eventID); err != nil {
		return Story{}, err
	}
	var s Story
	err := c.retry(ctx, func() error {
		s = Story{
			EventID: eventID, Key: idem.Key(eventID), Events: []Event{}, DeadLetters: []DeadLetter{}, Leases: []Lease{}, Results: []StoredResult{}, Outbox: []OutboxRecord{},
		}
		options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}

		return pgx.BeginTxFunc(ctx, c.pool, options, func(tx pgx.Tx) error {
			snapshot := *c
			snapshot.conn = tables.Qualified{DBTX: tx, Schema: c.schema}

			return snapshot.explain(ctx, consumer, &s)
		})
	})

	return s, err
}

func (c *Client) explain(ctx context.Context, consumer string, s *Story) error {
	consumers, err := c.consumers(ctx, consumer)
	if err != nil {
		return err
	}
	now, err := c.queries.ServerTime(ctx, c.conn)
	if err != nil {
		return c.failed(ctx, "read the time", err)
	}
	s.ToldAt = utc(now)
	for _, one := range consumers {
		if err := c.tell(ctx, one, s); err != nil {
			return err
		}
	}
	if err := c.tellOutbox(ctx, s); err != nil {
		return err
	}
	if !s.Known() {
		if err := c.refuseKey(ctx, consumers, s.EventID); err != nil {
			return err
		}
		s.Entries = append(s.Entries, unknown(*s, consumers))
	}
	slices.SortStableFunc(s.Entries, func(a, b Entry) int { return a.At.Compare(b.At) })

	return nil
}

// tell adds what one consumer knows.
func (c *Client) tell(ctx context.Context, consumer Consumer, s *Story) error {
	t := teller{story: s, consumer: consumer.Name, schemaFlag: c.schemaFlag()}
	event, known, err := c.event(ctx, consumer, s.Key)
	if err != nil {
		return err
	}
	p := db.DeadLettersOfEventParams{ConsumerID: consumer.id, EventID: s.EventID, Key: s.Key, ErrorStart: collisionText(s.EventID), RecordOffset: -1, MaxRows: maxTold + 1}
	if known {
		if place, ok := event.storedPlace(); ok {
			p.Topic, p.RecordPartition, p.RecordOffset = place.Topic, place.Partition, place.Offset
			t.at(place)
		}
	}
	rows, err := c.queries.DeadLettersOfEvent(ctx, c.conn, p)
	if err != nil {
		return c.failed(ctx, "look for the event's dead letters", err)
	}
	if len(rows) > maxTold {
		rows = rows[:maxTold]
		t.addf(s.ToldAt, EntryMore, nil, "There are more dead letters of this event than the %d oldest, which are told here: \"idemctl deadletter list%s\" has all.", maxTold, t.schemaFlag)
	}
	letters, err := c.lettersOf(ctx, rows)
	if err != nil {
		return err
	}
	for _, letter := range letters {
		s.DeadLetters = append(s.DeadLetters, letter.DeadLetter)
		t.deadLetter(letter)
		t.at(letter.place())
	}
	if known {
		s.Events = append(s.Events, event)
		t.claim(event, letters)
	}
	for _, place := range t.places {
		next, err := c.queries.CheckpointNext(ctx, c.conn, db.CheckpointNextParams{ConsumerID: consumer.id, Topic: place.Topic, Partition: place.Partition})
		if err != nil {
			return c.failed(ctx, "read the checkpoint", err)
		}
		t.checkpoint(place, next)
	}

	return c.tellEffect(ctx, consumer, &t)
}

// toldLetter is a dead letter with what else a story tells of it.
type toldLetter struct {
	DeadLetter

	requested bool          // it stands for a request to process its record again
	claimID   uuid.NullUUID // that marked its event, or processed it since
}

func (c *Client) lettersOf(ctx context.Context, rows []db.DeadLettersOfEventRow) ([]toldLetter, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	f := DeadLetterFilter{States: AllStates()}
	p := f.params()
	p.OldestFirst = true
	for _, row := range rows {
		p.Ids = append(p.Ids, row.ID.String())
	}
	list, err := c.list(ctx, p)
	if err != nil {
		return nil, err
	}
	letters := make([]toldLetter, len(list)) // In the same order, and of one snapshot.
	for i, letter := range list {
		letters[i] = toldLetter{letter, rows[i].Key == uuid.Nil, rows[i].ClaimID}
	}

	return letters, nil
}

// collisionText is how the error of a record begins that came with the event's id and another value.
func collisionText(eventID string) string {
	text := (&idem.CollisionError{EventID: eventID}).Error()

	return text[:strings.LastIndex(text, " (at ")]
}

// refuseKey says that a text is the key of an event and not its id.
func (c *Client) refuseKey(ctx context.Context, consumers []Consumer, text string) error {
	key, err := uuid.Parse(text)
	if err != nil {
		return nil //nolint:nilerr // It can only be an id.
	}
	for _, one := range consumers {
		event, known, err := c.event(ctx, one, key)
		if err != nil {
			return err
		}
		if known {
			return invalid("%s is not the id of an event but the key under which %s keeps the event %s: ask for that one",
				text, readable.Name(one.Name), readable.Name(event.EventID))
		}
	}

	return nil
}

package ops

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/readable"
)

// RecordPlace is the place of a record in Kafka, and the consumer that is to process it again.
type RecordPlace struct {
	Consumer  string `json:"consumer"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`

	// EventID is that of the event which is meant: Reprocess processes no record of another one. Empty: whatever stands in
	// the place. Skip does not look at it.
	EventID string `json:"event_id,omitempty"`
}

// ReprocessResult is a record that is to be processed again.
type ReprocessResult struct {
	RecordPlace

	// DeadLetter stands for the request: replayed once the record is processed, open if that fails, expired if
	// Kafka no longer has the record, or has another one in its place.
	DeadLetter uuid.UUID `json:"dead_letter"`
}

// PlanReprocess returns the place of an event's record, with its id: the place that is stored with the event, else that of its dead
// letters. The error wraps ErrUnknownEvent if the consumer knows neither, and ErrNoPlace if no place is stored, or the
// event has dead letters of several records.
func (c *Client) PlanReprocess(ctx context.Context, consumer, eventID string) (RecordPlace, error) {
	none := RecordPlace{Consumer: consumer}
	if consumer == "" {
		return none, invalid("the consumer is not named")
	}
	story, err := c.Explain(ctx, consumer, eventID)
	if err != nil {
		return none, err
	}
	for _, event := range story.Events {
		if place, ok := event.storedPlace(); ok {
			place.EventID = eventID

			return place, nil
		}
	}
	var places []RecordPlace
	for _, letter := range story.DeadLetters {
		// Not that of a record that came with the id of another, nor a place in which the event's record was looked for in vain.
		own := letter.EventID != nil && *letter.EventID == eventID && letter.State != idem.DeadLetterExpired
		if place := letter.place(); own && !slices.Contains(places, place) {
			places = append(places, place)
		}
	}
	id := readable.Name(readable.Short(eventID))
	const instead = "name the record by its topic, partition and offset"
	switch {
	case !story.Known():
		return none, refuse(ErrUnknownEvent, "event %s is not known to %s: %s", id, readable.Name(consumer), instead)
	case len(places) == 0:
		return none, refuse(ErrNoPlace, "the place of event %s is not stored with it (Config.StoreMetadata): %s", id, instead)
	case len(places) > 1:
		return none, refuse(ErrNoPlace, "event %s has dead letters of %d records (\"idemctl explain\" tells which): %s", id, len(places), instead)
	default:
		places[0].EventID = eventID

		return places[0], nil
	}
}

// Reprocess asks the owner of a partition to read a record from Kafka again and to process it once more,
// whoever has processed its event. If the consumer runs, that happens within seconds. The first effects
// stay. The checkpoint does not move, and the order is not kept, because later records have been processed
// already. Another record that stands in the place by then is not processed, as far as it can be told: by the event id, if
// there is one, and by Kafka's id of the topic, if it is stored with the checkpoint. Errors wrap ErrUnknownConsumer, ErrNotProcessed or ErrRequested.
func (c *Client) Reprocess(ctx context.Context, place RecordPlace) (ReprocessResult, error) {
	if place.Topic == "" || place.Partition < 0 || place.Offset < 0 {
		return ReprocessResult{}, invalid("a record has a topic, a partition and an offset that are not negative")
	}
	if err := checkText("the topic", place.Topic); err != nil {
		return ReprocessResult{}, err
	}
	if place.EventID != "" {
		if err := checkEventID(place.EventID); err != nil {
			return ReprocessResult{}, err
		}
	}
	consumer, err := c.open(ctx, place.Consumer)
	if err != nil {
		return ReprocessResult{}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return ReprocessResult{}, c.failed(ctx, "make the id of a dead letter", err)
	}
	err = c.retry(ctx, func() error {
		return c.in(ctx, func(conn db.DBTX) error { return c.request(ctx, conn, consumer, place, id) })
	})
	if err != nil {
		return ReprocessResult{}, err
	}

	return ReprocessResult{RecordPlace: place, DeadLetter: id}, nil
}

// request stores the dead letter that stands for a request, unless the record is going to be processed anyway.
func (c *Client) request(ctx context.Context, conn db.DBTX, consumer Consumer, place RecordPlace, id uuid.UUID) error {
	next, err := c.queries.CheckpointNext(ctx, conn, db.CheckpointNextParams{ConsumerID: consumer.id, Topic: place.Topic, Partition: place.Partition})
	switch {
	case err != nil:
		return c.failed(ctx, "read the checkpoint", err)
	case len(next) > 0 && place.Offset >= next[0]:
		return refuse(ErrNotProcessed, "the record is not processed yet: the checkpoint of %s/%d is at %d; it is processed when its turn comes",
			readable.Name(place.Topic), place.Partition, next[0])
	}
	known, err := c.queries.DeadLetterAt(ctx, conn, db.DeadLetterAtParams{
		ConsumerID: consumer.id, Topic: place.Topic, RecordPartition: place.Partition, RecordOffset: place.Offset,
	})
	switch {
	case err != nil:
		return c.failed(ctx, "look for a dead letter of the record", err)
	case len(known) > 0 && known[0] == id:
		return nil // An earlier try has stored it, whose answer was lost.
	case len(known) > 0:
		return requested(": " + known[0].String())
	}
	n, err := c.queries.DeadLetterRequest(ctx, conn, db.DeadLetterRequestParams{
		ConsumerID: consumer.id, ID: id, Topic: place.Topic, RecordPartition: place.Partition, RecordOffset: place.Offset, EventID: unlessEmpty(place.EventID),
	})
	if err == nil && n == 0 {
		return requested("")
	}

	return c.failed(ctx, "store the request", err)
}

func requested(which string) error {
	return refuse(ErrRequested, "the record has an unresolved dead letter%s; see \"idemctl deadletter show\" and \"idemctl deadletter replay\"", which)
}

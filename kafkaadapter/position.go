package kafkaadapter

import (
	"context"
	"errors"
	"fmt"

	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/fetch"
)

// acquire makes this member the owner of the partition, also in PostgreSQL, and returns where
// to go on: at the checkpoint or at the group's offset, whichever is greater. The group's is
// committed later than the checkpoint is, and can be set forward on purpose.
func (w *worker) acquire(revoked context.Context) (int64, error) {
	if w.config.Mode == ByEventID {
		return w.assigned, nil
	}
	err := w.persist(revoked, "take over the partition", func() error {
		var err error
		w.owner, err = w.guard.Acquire(revoked, w.partition, idem.AcquireOptions{Patience: w.config.DrainTimeout})

		return err //nolint:wrapcheck // Wrapped below.
	})
	if err == nil {
		err = w.readParked(revoked)
	}
	switch {
	case revoked.Err() != nil:
		return 0, nil //nolint:nilerr // It no longer matters.
	case err != nil:
		return 0, fmt.Errorf("kafkaadapter: take over %v: %w", w.partition, err)
	}
	if w.owner.Recreated() {
		return w.skip(revoked, &outOfRangeError{offset: w.owner.Next()})
	}
	offset := w.assigned
	if next := w.owner.Next(); next > max(offset, 0) {
		offset = next
		w.done(next) // Else the group seems to lag until the next record comes.
	}

	return offset, nil
}

// outOfRangeError ends a fetcher whose offset is not in the log.
type outOfRangeError struct{ offset int64 }

func (e *outOfRangeError) Error() string { return fmt.Sprintf("offset %d is out of range", e.offset) }

// errOtherTopic ends a generation in which a topic has become another one of the same name.
var errOtherTopic = errors.New("the topic was deleted and created again")

// skip finds out why an offset is not in the log, and goes on elsewhere, if Config.OnOutOfRange
// says so.
func (w *worker) skip(revoked context.Context, away *outOfRangeError) (int64, error) {
	var first, last int64
	err := w.askBroker(revoked, func() error {
		topics, err := fetch.Topics(revoked, w.generation.transport(), w.generation.consumer.brokers, w.config.ClientID, w.partition.Topic)
		switch {
		case err != nil:
			return err //nolint:wrapcheck // It says what was tried.
		case len(topics) == 1 && topics[0].Err == nil && topics[0].ID != w.partition.TopicID:
			return errOtherTopic
		}
		first, last, err = w.ends(revoked)

		return err
	})
	if err != nil || revoked.Err() != nil {
		return 0, err
	}

	recreated := w.owner != nil && w.owner.Recreated()
	var reason string
	switch {
	case recreated:
		reason = errOtherTopic.Error()
	case away.offset < first:
		reason = fmt.Sprintf("%d offsets have expired unread", first-away.offset)
	case away.offset > last:
		reason = "the log has lost its end, or the group's offset was set beyond it"
	default:
		return away.offset, nil // The log has moved on meanwhile.
	}
	if w.config.OnOutOfRange == FailOutOfRange {
		return 0, fmt.Errorf("%w: %v at offset %d: %s; the log holds %d to %d; decide where to go on: set Config.OnOutOfRange, or reset the group's offset (kafka-consumer-groups.sh --reset-offsets) and the checkpoint (idemctl checkpoint reset)",
			ErrOffsetOutOfRange, w.partition, away.offset, reason, first, last)
	}
	to := first
	switch {
	case w.config.OnOutOfRange == SkipToLatest:
		to = last
	case !recreated && away.offset > last:
		// What is in the log is processed, as far as the checkpoint or the group has come.
		to = last
		if w.owner != nil && w.owner.Next() >= first && w.owner.Next() <= last {
			to = w.owner.Next()
		}
	}
	w.log.ErrorContext(revoked, "kafkaadapter: offset out of range, going on elsewhere", "offset", away.offset, "reason", reason, "to", to)

	return to, w.moveTo(revoked, to, recreated || w.owner != nil && w.owner.Next() > to)
}

// moveTo makes the place where to go on last. The group comes first: whoever crashes in between
// finds the checkpoint as it was, and comes here again.
func (w *worker) moveTo(revoked context.Context, to int64, reset bool) error {
	err := w.generation.commitNow(revoked, w.partition.Topic, int(w.partition.Number), to)
	if err == nil && reset {
		err = w.persist(revoked, "reset the checkpoint", func() error { return w.owner.Reset(revoked, to) })
	}
	switch {
	case errors.Is(err, idem.ErrFenced):
		return idem.ErrFenced
	case err != nil && revoked.Err() == nil:
		return fmt.Errorf("kafkaadapter: go on at offset %d of %v: %w", to, w.partition, err)
	case err == nil:
		w.observe(Event{Kind: EventSkipped, Offset: to})
	}

	return nil
}

// askBroker repeats a request until it is answered, refused for good or no longer wanted.
func (w *worker) askBroker(revoked context.Context, request func() error) error {
	for failed := 1; ; failed++ {
		err := request()
		if err == nil || revoked.Err() != nil {
			return nil //nolint:nilerr // The caller looks at the context.
		}
		if errors.Is(err, errOtherTopic) {
			return err
		}
		if err := fatal(err); err != nil {
			return fmt.Errorf("%v: %w", w.partition, err)
		}
		w.log.WarnContext(revoked, "kafkaadapter: the log's ends are not known, trying again", "error", err)
		backoff.Sleep(revoked, retryPauses.Pause(failed))
	}
}

// ends returns the offsets of the first record and behind the last one.
func (w *worker) ends(ctx context.Context) (first, last int64, err error) {
	number := int(w.partition.Number)
	response, err := w.generation.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{
		Topics: map[string][]kafka.OffsetRequest{w.partition.Topic: {kafka.FirstOffsetOf(number), kafka.LastOffsetOf(number)}},
	})
	if err != nil {
		return 0, 0, fmt.Errorf("read the ends of the log: %w", err)
	}
	partitions := response.Topics[w.partition.Topic]
	if len(partitions) == 0 {
		return 0, 0, fmt.Errorf("read the ends of the log: %w", kafka.UnknownTopicOrPartition)
	}
	if err := partitions[0].Error; err != nil {
		return 0, 0, fmt.Errorf("read the ends of the log: %w", err)
	}

	return partitions[0].FirstOffset, partitions[0].LastOffset, nil
}

package kafkaadapter

import (
	"context"
	"fmt"

	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/internal/backoff"
)

// takeOver makes this member the owner of the partition, also in PostgreSQL, and returns where
// to go on: at the watermark or at the group's offset, whichever is greater. The group's is
// committed later than the watermark is, and can be set forward on purpose.
func (w *worker) takeOver(revoked context.Context) (int64, error) {
	if w.config.Mode == Keys {
		w.observe(Event{Kind: EventAssigned, Offset: w.assigned})

		return w.assigned, nil
	}
	err := w.persist(revoked, "take over the partition", func() error {
		var err error
		w.mark, err = w.guard.TakeOver(revoked, w.partition, w.config.DrainTimeout)

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
	if w.mark.Recreated() {
		return w.skip(revoked, &outOfRangeError{offset: w.mark.Next(), reason: "the topic was deleted and created again"})
	}
	offset := w.assigned
	if next := w.mark.Next(); next > max(offset, 0) {
		offset = next
	}
	w.observe(Event{Kind: EventAssigned, Offset: offset})

	return offset, nil
}

// outOfRangeError ends a fetcher whose offset is not in the log.
type outOfRangeError struct {
	offset int64
	reason string // if it is known
}

func (e *outOfRangeError) Error() string { return e.reason }

// skip goes on elsewhere, if Config.OnOutOfRange says so.
func (w *worker) skip(revoked context.Context, away *outOfRangeError) (int64, error) {
	first, last, err := w.ends(revoked)
	for failed := 1; err != nil; failed++ {
		if err := fatal(err); err != nil {
			return 0, fmt.Errorf("%v: %w", w.partition, err)
		}
		w.log.WarnContext(revoked, "kafkaadapter: the ends of the log are not known, trying again", "error", err)
		if !backoff.Sleep(revoked, retryPauses.Pause(failed)) {
			return 0, nil
		}
		first, last, err = w.ends(revoked)
	}
	reason := away.reason
	switch {
	case reason != "":
	case away.offset < first:
		reason = fmt.Sprintf("%d records have expired unread", first-away.offset)
	default:
		reason = "the log has lost its end, or the topic was deleted and created again"
	}
	to := first
	switch w.config.OnOutOfRange {
	case FailOutOfRange:
		return 0, fmt.Errorf("%w: %v at offset %d: %s; the log holds %d to %d; decide where to go on: set Config.OnOutOfRange, or reset the group's offset (kafka-consumer-groups.sh --reset-offsets) and the watermark (idemctl watermark reset)",
			ErrOffsetOutOfRange, w.partition, away.offset, reason, first, last)
	case SkipToLatest:
		to = last
	case SkipToEarliest:
	}
	w.log.ErrorContext(revoked, "kafkaadapter: offset out of range, going on elsewhere", "offset", away.offset, "reason", reason, "to", to)
	if w.mark != nil {
		err := w.persist(revoked, "reset the watermark", func() error { return w.mark.Reset(revoked, to) })
		if err != nil {
			return 0, w.endOf(revoked, Message{Message: kafka.Message{Topic: w.partition.Topic, Partition: int(w.partition.Number), Offset: to}}, err)
		}
	}
	w.done(to)
	w.observe(Event{Kind: EventSkipped, Offset: to})

	return to, nil
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

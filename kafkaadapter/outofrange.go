package kafkaadapter

import (
	"context"
	"errors"
	"fmt"

	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/fetch"
	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/wire"
)

// outOfRangeError says that what comes next at an offset is not in the log.
type outOfRangeError struct {
	offset    int64
	truncated int64 // where the log was truncated, before the offset, and filled anew; or none
}

func (e *outOfRangeError) Error() string { return fmt.Sprintf("offset %d is out of range", e.offset) }

// errOtherTopic ends a generation in which a topic has become another one of the same name.
var errOtherTopic = errors.New("the topic was deleted and created again")

// skip finds out why an offset is not in the log, and goes on elsewhere, if Config.OnOutOfRange
// says so.
func (w *worker) skip(revoked context.Context, away *outOfRangeError) (int64, error) {
	var first, last int64
	err := w.askBroker(revoked, "find the ends of the log", func() error {
		cluster, err := fetch.Metadata(revoked, w.generation.transport(), w.generation.consumer.brokers, w.config.ClientID, w.partition.Topic)
		switch {
		case err != nil:
			return err //nolint:wrapcheck // It says what was tried.
		case len(cluster.Topics) == 1 && cluster.Topics[0].Err == nil && cluster.Topics[0].ID != w.partition.TopicID:
			return errOtherTopic
		}
		first, last, err = w.ends(revoked)

		return err
	})
	if err != nil || revoked.Err() != nil {
		return 0, err
	}

	recreated := w.owner != nil && w.owner.Recreated()
	var (
		reason   string
		earliest = first // where SkipToEarliest goes on
	)
	switch {
	case recreated:
		reason = errOtherTopic.Error()
	case away.offset < first && away.offset == w.start:
		return first, w.moveTo(revoked, first, false) // The log has moved on since its beginning was asked for.
	case away.offset < first:
		reason = fmt.Sprintf("%d offsets have expired unread", first-away.offset)
	case away.truncated != none:
		reason = fmt.Sprintf("the log was truncated at offset %d, before what is processed, and filled anew", away.truncated)
		earliest = max(first, away.truncated)
	case away.offset > last:
		reason = "the log has lost its end, or the group's offset was set beyond it"
		// What is in the log is processed, as far as the checkpoint or the group has come.
		earliest = last
		if w.owner != nil && w.owner.Next() >= first && w.owner.Next() <= last {
			earliest = w.owner.Next()
		}
	default: // The log has moved on meanwhile.
		w.pause(revoked, 1, Event{Kind: EventPaused, Offset: away.offset, Err: away}, "the offset is in the log, trying again")

		return away.offset, nil
	}
	to := earliest
	switch w.config.OnOutOfRange {
	case FailOutOfRange:
		return 0, fmt.Errorf("%w: %v at offset %d: %s; the log holds %d to %d; decide where to go on: set Config.OnOutOfRange, or set the checkpoint (idemctl checkpoint reset), in Mode ByEventID the group's offset (kafka-consumer-groups.sh --reset-offsets)",
			ErrOffsetOutOfRange, w.partition, away.offset, reason, first, last)
	case SkipToLatest:
		to = last
	case SkipToEarliest:
	}
	w.log.ErrorContext(revoked, "kafkaadapter: offset out of range, going on elsewhere", "offset", away.offset, "reason", reason, "to", to)

	return to, w.moveTo(revoked, to, recreated || w.owner != nil && w.owner.Next() > to)
}

// checkEpoch finds out whether the log still has what is processed: an unclean election can have
// truncated it, and producers filled it anew beyond the checkpoint (KIP-320). Then it returns an
// *outOfRangeError.
func (w *worker) checkEpoch(revoked context.Context) error {
	if w.owner.LeaderEpoch() < 0 {
		return nil
	}
	next, epoch, end := w.owner.Next(), int32(none), int64(none)
	err := w.askBroker(revoked, "check that the log was not truncated", func() error {
		var err error
		epoch, end, err = fetch.EndOffsetForLeaderEpoch(revoked, w.generation.transport(), w.generation.consumer.brokers,
			w.config.ClientID, w.partition.Topic, int(w.partition.Number), none, w.owner.LeaderEpoch())

		return err //nolint:wrapcheck // It says what was tried.
	})
	if err == nil && epoch >= 0 && end >= 0 && end < next {
		return &outOfRangeError{offset: next, truncated: end}
	}

	return err
}

// moveTo makes the place where to go on last. The checkpoint comes first: it decides.
func (w *worker) moveTo(revoked context.Context, to int64, reset bool) error {
	var err error
	switch {
	case w.owner == nil:
	case reset:
		err = w.persist(revoked, "reset the checkpoint", func() error { return w.owner.Reset(revoked, to) })
	default:
		err = w.persist(revoked, "advance the checkpoint", func() error { return w.owner.Advance(revoked, to) })
	}
	if err == nil {
		err = w.generation.commits.now(revoked, w.partition.Topic, int(w.partition.Number), w.place(to))
	}
	switch {
	case disowned(err):
		return err
	case err != nil && revoked.Err() == nil:
		return fmt.Errorf("kafkaadapter: go on at offset %d of %v: %w", to, w.partition, err)
	case err == nil:
		w.observe(Event{Kind: EventSkipped, Offset: to})
	}

	return nil
}

// askBroker repeats a request until it is answered, refused for good or no longer wanted.
func (w *worker) askBroker(revoked context.Context, what string, request func() error) error {
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
		w.pause(revoked, failed, Event{Kind: EventPaused, Offset: none, Err: err}, "waiting for Kafka to "+what)
	}
}

// ends returns the offsets of the first record and behind the last one.
func (w *worker) ends(ctx context.Context) (first, last int64, err error) {
	number := w.partition.Number
	all, err := w.endsOf(ctx, number)

	return all[number].FirstOffset, all[number].LastOffset, err
}

// endsOf returns the ends of several partitions of the topic, by their numbers.
func (w *worker) endsOf(ctx context.Context, numbers ...int32) (map[int32]kafka.PartitionOffsets, error) {
	topic := w.partition.Topic
	request := make([]kafka.OffsetRequest, 0, 2*len(numbers))
	for _, number := range numbers {
		request = append(request, kafka.FirstOffsetOf(int(number)), kafka.LastOffsetOf(int(number)))
	}
	response, err := listOffsets(ctx, w.generation.client, map[string][]kafka.OffsetRequest{topic: request})
	if err != nil {
		return nil, fmt.Errorf("read the ends of the log: %w", err)
	}
	all := make(map[int32]kafka.PartitionOffsets, len(numbers))
	for _, p := range response.Topics[topic] {
		if p.Error != nil {
			return nil, fmt.Errorf("read the ends of the log: %s/%d: %w", topic, p.Partition, p.Error)
		}
		all[int32(p.Partition)] = p //nolint:gosec // Kafka's partitions have 32 bits.
	}
	for _, number := range numbers {
		if p, ok := all[number]; !ok || p.FirstOffset < 0 || p.LastOffset < p.FirstOffset {
			return nil, fmt.Errorf("read the ends of the log: %s/%d: %w", topic, number, kafka.UnknownTopicOrPartition)
		}
	}

	return all, nil
}

// listOffsets asks for offsets. kafka-go panics, in this goroutine, if the answer is about a
// partition that nobody has asked for.
func listOffsets(ctx context.Context, client *kafka.Client, topics map[string][]kafka.OffsetRequest) (response *kafka.ListOffsetsResponse, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("%w: the answer is about other partitions: %v", wire.ErrMalformed, reason)
		}
	}()

	return client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: topics}) //nolint:wrapcheck // The caller wraps it.
}

package kafkaadapter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/internal/engine"
	"github.com/nova-events/idempotent-consumer/internal/topics"
	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/cluster"
	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/fetch"
)

// source is a partition that a generation has assigned to this member.
type source struct {
	generation *generation
	topic      topics.Topic
	partition  int

	missing time.Time // since when the topic is; only Fetch uses it
}

var _ engine.Source = (*source)(nil)

// Fetch implements engine.Source.
func (s *source) Fetch(ctx context.Context, request engine.Request) (*engine.Batch, error) {
	config := &s.generation.consumer.config
	memory := config.Memory.shared
	if request.Uncounted {
		memory = nil
	}
	response, err := s.connections().fetcher.Fetch(ctx, fetch.Request{
		Topic: s.topic.Name, Partition: s.partition, Offset: request.Offset,
		MaxBytes: config.MaxBytes, MaxWait: config.MaxWait, Memory: memory, After: request.After, Before: request.Before,
	})
	if err != nil {
		return nil, s.judge(err)
	}
	s.missing = time.Time{}

	return &engine.Batch{
		Records: response.Messages, Next: response.Next,
		HighWatermark: response.HighWatermark, LastStable: response.LastStable, LeaderEpoch: response.LeaderEpoch,
		Throttle: response.Throttle, Release: response.Release, Released: response.Released(),
	}, nil
}

func (s *source) connections() *connections { return s.generation.member.connections }

// judge says what a fetch's error means.
func (s *source) judge(err error) error {
	switch {
	case errors.Is(err, kafka.OffsetOutOfRange):
		return fmt.Errorf("%w: %w", engine.ErrOutOfRange, err)
	case unreadable(err):
		return fmt.Errorf("%w: %w", consume.ErrUnreadable, err)
	case !unknownTopic(err):
		return classified(err)
	}
	if s.missing.IsZero() {
		s.missing = time.Now()
	}
	if time.Since(s.missing) > s.generation.consumer.config.TopicGrace {
		return &engine.FatalError{Err: fmt.Errorf("%w: %w", consume.ErrUnknownTopic, err)}
	}

	return err
}

// classified is err, as an *engine.FatalError if no retry can heal it.
func classified(err error) error {
	if fatal := fatal(err); fatal != nil {
		return fatal
	}

	return err
}

// Committed implements engine.Source.
func (s *source) Committed(ctx context.Context) (engine.Committed, error) {
	committed := s.generation.committed
	if err := committed.read(ctx); err != nil {
		return engine.Committed{}, classified(err)
	}

	return committed.of(s.topic.Name, s.partition), nil
}

// CommitSoon implements engine.Source.
func (s *source) CommitSoon(place engine.Place) {
	s.generation.commits.done(s.topic.Name, s.partition, place)
}

// Commit implements engine.Source.
func (s *source) Commit(ctx context.Context, place engine.Place) error {
	return s.generation.commits.now(ctx, s.topic.Name, s.partition, place)
}

// Topics implements engine.Source.
func (s *source) Topics() []engine.Topic {
	if s.generation.consumer.config.TopicPattern != nil {
		return topics.Together(s.generation.topics...)
	}

	return topics.Together(s.topic)
}

// CheckTopic implements engine.Source.
func (s *source) CheckTopic(ctx context.Context) error {
	metadata, err := s.connections().Metadata(ctx, s.topic.Name)
	switch {
	case err != nil:
		return classified(err)
	case len(metadata.Topics) == 1 && metadata.Topics[0].Err == nil && metadata.Topics[0].ID != s.topic.ID:
		return engine.ErrOtherTopic
	default:
		return nil
	}
}

// EpochEnd implements engine.Source.
func (s *source) EpochEnd(ctx context.Context, epoch int32) (latest int32, end int64, err error) {
	latest, end, err = s.connections().EndOffsetForLeaderEpoch(ctx, s.topic.Name, s.partition, engine.None, epoch)

	return latest, end, classified(err)
}

// Ends implements engine.Source.
func (s *source) Ends(ctx context.Context, topic string, partitions ...int32) (map[int32]engine.Ends, error) {
	first, last, err := s.connections().Ends(ctx, topic, partitions...)
	if err != nil {
		return nil, classified(fmt.Errorf("read the ends of the log: %w", err))
	}
	all := make(map[int32]engine.Ends, len(partitions))
	for _, number := range partitions {
		ends := engine.Ends{First: first[number], Last: last[number]}
		if ends.First < 0 || ends.Last < ends.First {
			return nil, fmt.Errorf("read the ends of the log: %s/%d: %w", topic, number, kafka.UnknownTopicOrPartition)
		}
		all[number] = ends
	}

	return all, nil
}

// Since implements engine.Source.
func (s *source) Since(ctx context.Context, topic string, at time.Time, partitions ...int32) (map[int32]int64, error) {
	found, err := s.connections().Since(ctx, topic, at, partitions...)
	if err != nil {
		return nil, classified(fmt.Errorf("find the records of a time: %w", err))
	}

	return found, nil
}

// Copy implements engine.Source.
func (s *source) Copy(ctx context.Context, topic string, record consume.Record) error {
	headers := make([]kafka.Header, len(record.Headers))
	for i, h := range record.Headers {
		headers[i] = kafka.Header(h)
	}
	copied := &cluster.Batch{Topic: topic, Partition: s.partition, Records: []kafka.Record{{
		Time: record.Time, Key: nullableBytes(record.Key), Value: nullableBytes(record.Value), Headers: headers,
	}}}
	s.connections().Produce(ctx, kafka.Gzip, copied)
	if copied.Err == nil {
		return nil
	}
	err := classified(fmt.Errorf("produce to %s/%d: %w", topic, s.partition, copied.Err))
	if s.neverCopied(ctx, topic, err) {
		return fmt.Errorf("%w: %w", engine.ErrNeverCopied, err)
	}

	return err
}

// neverCopied reports whether no retry can make the copy: the broker refuses it for good, or the
// dead-letter topic has fewer partitions. Missing metadata is requested again.
func (s *source) neverCopied(ctx context.Context, topic string, err error) bool {
	var code kafka.Error
	if errors.As(err, &code) {
		return !code.Temporary() && !code.Timeout()
	}
	if !errors.Is(err, protocol.ErrNoPartition) {
		return false
	}
	metadata, err := s.connections().Metadata(ctx, topic)

	return err == nil && len(metadata.Topics) == 1 && metadata.Topics[0].Err == nil && metadata.Topics[0].Partitions <= s.partition
}

func nullableBytes(b []byte) protocol.Bytes { //nolint:ireturn // kafka-go's interface.
	if b == nil {
		return nil
	}

	return kafka.NewBytes(bytes.Clone(b))
}

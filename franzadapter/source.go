package franzadapter

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/internal/engine"
	"github.com/nova-events/idempotent-consumer/internal/topics"
)

// partition is one of a topic.
type partition struct {
	topic  string
	number int32
}

// source is a partition that this member is assigned.
type source struct {
	member    *member
	partition partition
	topic     topics.Topic
	committed *committed

	failed  bool      // the latest fetch has; only Fetch uses it and what follows
	missing time.Time // since when the topic is
}

var _ engine.Source = (*source)(nil)

// Fetch implements engine.Source.
func (s *source) Fetch(ctx context.Context, request engine.Request) (*engine.Batch, error) {
	for beyond := 0; ; beyond++ {
		batch, err := s.fetch(ctx, request)
		if err == nil {
			s.missing = time.Time{}
		}
		s.failed = err != nil
		if err == nil || beyond > 1 || !errors.Is(err, errBeyondEnd) {
			return batch, err
		}
	}
}

func (s *source) fetch(ctx context.Context, request engine.Request) (*engine.Batch, error) {
	w := &want{
		partition: s.partition, topicID: s.topic.ID, offset: request.Offset, after: request.After, empty: s.failed || request.Uncounted, answer: make(chan answer, 1),
	}
	fetch := s.member.puller.fetch
	if request.Uncounted {
		fetch = s.member.puller.fetchOne
	}
	a, err := fetch(ctx, w)
	if err != nil {
		return nil, s.judge(err)
	}
	b := s.member.puller.budget
	d := newDecoder(s.partition, request.Offset, &a.partition, s.member.decompressor)
	care := engine.DecodeAll
	if request.Before != nil && len(a.partition.RecordBatches) > 0 {
		care, err = request.Before()
	}
	if err == nil {
		err = unreadable(d.decode(a.partition.RecordBatches, care))
	}
	if err != nil {
		b.add(-a.bytes)

		return nil, err
	}
	taken := a.bytes
	if !request.Uncounted {
		b.add(d.bytes)
		taken += d.bytes
	}
	released := make(chan struct{})

	return &engine.Batch{
		Records: d.records, Next: d.next, LeaderEpoch: d.leaderEpoch,
		HighWatermark: a.partition.HighWatermark, LastStable: a.partition.LastStableOffset, Throttle: a.throttle,
		Release: sync.OnceFunc(func() {
			close(released)
			b.add(-taken) // It wakes those who wait for either.
		}),
		Released: released,
	}, nil
}

// judge says what a fetch's error means.
func (s *source) judge(err error) error {
	switch {
	case errors.Is(err, kerr.OffsetOutOfRange):
		return fmt.Errorf("%w: %w", engine.ErrOutOfRange, err)
	case !unknownTopic(err):
		return classified(err)
	}
	if s.missing.IsZero() {
		s.missing = time.Now()
	}
	if time.Since(s.missing) > s.member.consumer.config.TopicGrace {
		return &engine.FatalError{Err: fmt.Errorf("%w: %w", consume.ErrUnknownTopic, err)}
	}

	return err
}

// unreadable says of a decoder's error that the answer makes no sense.
func unreadable(err error) error {
	if err == nil || errors.Is(err, consume.ErrUnreadable) {
		return err
	}

	return fmt.Errorf("%w: %w", consume.ErrUnreadable, err)
}

// Committed implements engine.Source.
func (s *source) Committed(ctx context.Context) (engine.Committed, error) {
	found, err := s.committed.of(ctx, s.topic, s.partition.number)

	return found, classified(err)
}

// CommitSoon implements engine.Source.
func (s *source) CommitSoon(at engine.Place) {
	s.member.commits.done(s.partition, place{at, s.topic.ID})
}

// Commit implements engine.Source.
func (s *source) Commit(ctx context.Context, at engine.Place) error {
	return s.member.commits.now(ctx, s.partition, place{at, s.topic.ID})
}

// Topics implements engine.Source.
func (s *source) Topics() []engine.Topic {
	if s.member.consumer.config.TopicPattern != nil {
		return topics.Together(slices.Collect(maps.Values(s.member.view.latest.Load().byName))...)
	}

	return topics.Together(s.topic)
}

// CheckTopic implements engine.Source.
func (s *source) CheckTopic(ctx context.Context) error {
	found, err := ask(ctx, s.member.client, s.topic.Name)
	switch {
	case err != nil:
		return classified(err)
	case len(found.Topics) == 1 && found.Topics[0].Err == nil && found.Topics[0].ID != s.topic.ID:
		return engine.ErrOtherTopic
	default:
		return nil
	}
}

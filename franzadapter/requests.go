package franzadapter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/internal/engine"
)

// The times that mean the ends of a log.
const (
	firstOffset = -2
	lastOffset  = -1
)

// turns makes requests wait for each other. franz-go sends them over the connection of the heartbeats,
// which would wait behind the requests of thousands of partitions that begin at the same time.
type turns chan struct{}

// newTurns allows some requests at once.
func newTurns() turns {
	const atOnce = 8

	return make(turns, atOnce)
}

// take waits for a turn, until ctx ends.
func (t turns) take(ctx context.Context) (pass func(), err error) {
	select {
	case t <- struct{}{}:
		return func() { <-t }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Ends implements engine.Source.
func (s *source) Ends(ctx context.Context, topic string, partitions ...int32) (map[int32]engine.Ends, error) {
	found, err := s.offsets(ctx, topic, partitions, firstOffset, lastOffset)
	if err != nil {
		return nil, err
	}
	all := make(map[int32]engine.Ends, len(partitions))
	for _, number := range partitions {
		ends := engine.Ends{First: found[0][number], Last: found[1][number]}
		if ends.First < 0 || ends.Last < ends.First {
			return nil, fmt.Errorf("read the ends of the log: %s/%d: %w", topic, number, kerr.UnknownTopicOrPartition)
		}
		all[number] = ends
	}

	return all, nil
}

// Since implements engine.Source.
func (s *source) Since(ctx context.Context, topic string, at time.Time, partitions ...int32) (map[int32]int64, error) {
	found, err := s.offsets(ctx, topic, partitions, at.UnixMilli())
	if err != nil {
		return nil, err
	}

	return found[0], nil
}

// offsets returns those of all partitions at each of the times.
func (s *source) offsets(ctx context.Context, topic string, partitions []int32, times ...int64) ([]map[int32]int64, error) {
	pass, err := s.member.asking.take(ctx)
	if err != nil {
		return nil, err
	}
	defer pass()
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	found := make([]map[int32]int64, len(times))
	for i, at := range times {
		if found[i], err = s.listOffsets(ctx, topic, at, partitions); err != nil {
			s.member.view.stale()

			return nil, classified(err)
		}
	}

	return found, nil
}

// listOffsets returns the offset of a time for each partition, from their leaders. franz-go would have to find
// those out for each topic.
func (s *source) listOffsets(ctx context.Context, topic string, at int64, partitions []int32) (map[int32]int64, error) {
	led := make(map[int32][]int32) // by broker
	for _, number := range partitions {
		leader, err := s.member.view.leader(partition{topic, number})
		if err != nil {
			return nil, fmt.Errorf("list offsets: %s/%d: %w", topic, number, err)
		}
		led[leader] = append(led[leader], number)
	}
	found := make(map[int32]int64, len(partitions))
	for leader, numbers := range led {
		request := kmsg.NewPtrListOffsetsRequest()
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = topic
		for _, number := range numbers {
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition, p.Timestamp = number, at
			t.Partitions = append(t.Partitions, p)
		}
		request.Topics = append(request.Topics, t)
		response, err := request.RequestWith(ctx, s.broker(leader))
		if err != nil {
			return nil, fmt.Errorf("list offsets: %w", err)
		}
		for _, t := range response.Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return nil, fmt.Errorf("list offsets: %s/%d: %w", t.Topic, p.Partition, err)
				}
				found[p.Partition] = p.Offset
			}
		}
	}
	for _, number := range partitions {
		if _, ok := found[number]; !ok {
			return nil, fmt.Errorf("list offsets: %s/%d: %w", topic, number, errLeftOut)
		}
	}

	return found, nil
}

// broker is one to ask. A connection that it has closed meanwhile is no failure.
func (s *source) broker(id int32) kmsg.Requestor { return retrying{s.member.client.Broker(int(id))} } //nolint:ireturn // It is what requests want.

type retrying struct{ *kgo.Broker }

// Request implements kmsg.Requestor.
func (r retrying) Request(ctx context.Context, request kmsg.Request) (kmsg.Response, error) { //nolint:ireturn // It is the interface's.
	return r.RetriableRequest(ctx, request)
}

// EpochEnd implements engine.Source.
func (s *source) EpochEnd(ctx context.Context, epoch int32) (latest int32, end int64, err error) {
	pass, err := s.member.asking.take(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer pass()
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	request := kmsg.NewPtrOffsetForLeaderEpochRequest()
	request.ReplicaID = -1
	t := kmsg.NewOffsetForLeaderEpochRequestTopic()
	t.Topic = s.topic.Name
	p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
	p.Partition, p.CurrentLeaderEpoch, p.LeaderEpoch = s.partition.number, engine.None, epoch
	t.Partitions = append(t.Partitions, p)
	request.Topics = append(request.Topics, t)
	var response *kmsg.OffsetForLeaderEpochResponse
	leader, err := s.member.view.leader(s.partition)
	if err == nil {
		response, err = request.RequestWith(ctx, s.broker(leader))
	}
	if err == nil && (len(response.Topics) != 1 || len(response.Topics[0].Partitions) != 1) {
		err = errLeftOut
	}
	if err == nil {
		found := response.Topics[0].Partitions[0]
		latest, end, err = found.LeaderEpoch, found.EndOffset, kerr.ErrorForCode(found.ErrorCode)
	}
	if err != nil {
		s.member.view.stale()

		return 0, 0, classified(fmt.Errorf("ask for the end of leader epoch %d: %w", epoch, err))
	}

	return latest, end, nil
}

// Copy implements engine.Source.
func (s *source) Copy(ctx context.Context, topic string, record consume.Record) error {
	copied := &kgo.Record{Topic: topic, Partition: s.partition.number, Key: record.Key, Value: record.Value, Timestamp: record.Time}
	for _, h := range record.Headers {
		copied.Headers = append(copied.Headers, kgo.RecordHeader(h))
	}
	err := s.member.client.ProduceSync(ctx, copied).FirstErr()
	if err == nil {
		return nil
	}
	err = classified(fmt.Errorf("produce to %s/%d: %w", topic, s.partition.number, err))
	if s.neverCopied(ctx, topic, err) {
		return fmt.Errorf("%w: %w", engine.ErrNeverCopied, err)
	}

	return err
}

// neverCopied reports whether no retry can make the copy: the broker refuses it for good, or the
// dead-letter topic has fewer partitions.
func (s *source) neverCopied(ctx context.Context, topic string, err error) bool {
	if code, ok := errors.AsType[*kerr.Error](err); ok {
		return !code.Retriable
	}
	found, err := ask(ctx, s.member.client, topic)

	return err == nil && len(found.Topics) == 1 && found.Topics[0].Err == nil && len(found.Topics[0].Leaders) <= int(s.partition.number)
}

package kafkaadapter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/offsetcommit"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
	"github.com/nova-events/idempotent-consumer/internal/engine"
)

// commits are the offsets of one generation on their way to Kafka. Each request carries the
// generation and the member: once others have taken over, the broker refuses it.
type commits struct {
	client     *kafka.Client
	group      string
	generation *kafka.Generation
	log        *slog.Logger
	observe    func(consume.Event)
	fail       func(error)
	wal        func(context.Context) string // engine.Engine.WALPosition

	sending sync.Mutex // One request at a time, so that none overtakes another.

	mu      sync.Mutex
	pending map[string]map[int]engine.Place
}

// done says that all records of a partition before a place are processed.
func (c *commits) done(topic string, partition int, p engine.Place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	put(c.pending, topic, partition, p)
}

func put(places map[string]map[int]engine.Place, topic string, partition int, p engine.Place) {
	if places[topic] == nil {
		places[topic] = make(map[int]engine.Place)
	}
	places[topic][partition] = p
}

// now commits one partition and returns when that has succeeded, or with an error when the
// generation has ended or the broker refuses.
func (c *commits) now(revoked context.Context, topic string, partition int, p engine.Place) error {
	for failed := 1; ; failed++ {
		c.sending.Lock()
		err := c.send(revoked, map[string]map[int]engine.Place{topic: {partition: p}})
		c.sending.Unlock()
		if err == nil {
			c.done(topic, partition, p)

			return nil
		}
		if fatalErr := fatal(err); fatalErr != nil {
			return fatalErr
		}
		c.log.WarnContext(revoked, "kafkaadapter: offset not committed, trying again", "topic", topic, "partition", partition, "error", err)
		if !backoff.Sleep(revoked, engine.RetryPauses.Pause(failed)) {
			return err
		}
	}
}

// flush commits what is done. What fails is tried again the next time, unless there is something
// newer by then.
func (c *commits) flush(ctx context.Context) {
	c.sending.Lock()
	defer c.sending.Unlock()
	c.mu.Lock()
	places := c.pending
	c.pending = make(map[string]map[int]engine.Place)
	c.mu.Unlock()
	if len(places) == 0 {
		return
	}
	started := time.Now()
	err := c.send(context.WithoutCancel(ctx), places)
	if err == nil {
		c.observe(consume.Event{Kind: consume.EventCommitted, Duration: time.Since(started)})

		return
	}
	if err := fatal(err); err != nil {
		c.fail(err)
	}
	c.log.WarnContext(ctx, "kafkaadapter: offsets not committed; if others take over before they are, records will be delivered again", "error", err)

	c.mu.Lock()
	defer c.mu.Unlock()
	for topic, newer := range c.pending {
		for partition, p := range newer {
			put(places, topic, partition, p)
		}
	}
	c.pending = places
}

// send is one request. kafka.Client has one of its own, which says that every record was written
// in leader epoch 0: consumers that compare (KIP-320) would take the log for truncated.
func (c *commits) send(ctx context.Context, places map[string]map[int]engine.Place) error {
	request := &offsetcommit.Request{
		GroupID: c.group, GenerationID: c.generation.ID, MemberID: c.generation.MemberID, RetentionTimeMs: -1,
	}
	wal := c.wal(ctx)
	for topic, partitions := range places {
		t := offsetcommit.RequestTopic{Name: topic}
		for number, p := range partitions {
			t.Partitions = append(t.Partitions, offsetcommit.RequestPartition{
				PartitionIndex: int32(number), CommittedOffset: p.Offset, CommittedLeaderEpoch: p.LeaderEpoch, //nolint:gosec // Kafka's partitions have 32 bits.
				CommittedMetadata: p.Metadata(wal),
			})
		}
		request.Topics = append(request.Topics, t)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	message, err := c.client.Transport.RoundTrip(ctx, c.client.Addr, request)
	if err != nil {
		return fmt.Errorf("commit offsets: %w", err)
	}
	response, ok := message.(*offsetcommit.Response)
	if !ok {
		return errors.New("commit offsets: the answer is another one's")
	}
	answered := 0
	for _, t := range response.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				return fmt.Errorf("commit offsets: %s/%d: %w", t.Name, p.PartitionIndex, kafka.Error(p.ErrorCode))
			}
			answered++
		}
	}
	for _, t := range request.Topics {
		answered -= len(t.Partitions)
	}
	if answered != 0 {
		return errors.New("commit offsets: the answer leaves partitions out")
	}

	return nil
}

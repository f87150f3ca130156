package kafkaadapter

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
	"github.com/nova-events/idempotent-consumer/internal/engine"
	"github.com/nova-events/idempotent-consumer/internal/onceper"
	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/group"
)

// commits are the offsets of one generation on their way to Kafka. Each request carries the
// generation and the member: once others have taken over, the broker refuses it.
type commits struct {
	generation *group.Generation
	log        *slog.Logger
	engine     *engine.Engine
	late       *onceper.Trouble // that commits fail; of all generations
	fail       func(error)

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
			c.passed(revoked)

			return nil
		}
		if fatalErr := fatal(err); fatalErr != nil {
			return fatalErr
		}
		if since, due := c.late.Lasts(time.Minute); due {
			c.log.WarnContext(revoked, "kafkaadapter: offset not committed, trying again", "topic", topic, "partition", partition, "since", since, "error", err)
		}
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
	err := c.send(context.WithoutCancel(ctx), places)
	if err == nil {
		c.passed(ctx)

		return
	}
	if err := fatal(err); err != nil {
		c.fail(err)
	}
	if since, due := c.late.Lasts(time.Minute); due {
		c.log.WarnContext(ctx, "kafkaadapter: offsets not committed; if others take over before they are, records will be delivered again", "since", since, "error", err)
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	for topic, newer := range c.pending {
		for partition, p := range newer {
			put(places, topic, partition, p)
		}
	}
	c.pending = places
}

// passed logs that commits succeed again.
func (c *commits) passed(ctx context.Context) {
	if lasted, told := c.late.Passed(); told {
		c.log.InfoContext(ctx, "kafkaadapter: offsets are committed again", "after", lasted)
	}
}

// send is one request.
func (c *commits) send(ctx context.Context, places map[string]map[int]engine.Place) error {
	wal := c.engine.WALPosition(ctx)
	offsets := make(map[string]map[int]group.Offset, len(places))
	for topic, partitions := range places {
		offsets[topic] = make(map[int]group.Offset, len(partitions))
		for number, p := range partitions {
			offsets[topic][number] = group.Offset{Next: p.Offset, LeaderEpoch: p.LeaderEpoch, Metadata: p.Metadata(wal)}
		}
	}

	return c.engine.WatchCommit(ctx, func() []consume.Place { return placesOf(places) }, func(ctx context.Context) error {
		return c.generation.Commit(ctx, offsets)
	})
}

// placesOf returns what hooks get about a commit.
func placesOf(places map[string]map[int]engine.Place) (all []consume.Place) {
	for topic, partitions := range places {
		for number, p := range partitions {
			all = append(all, consume.Place{Topic: topic, Partition: int32(number), Offset: p.Offset}) //nolint:gosec // Kafka's partitions have 32 bits.
		}
	}

	return all
}

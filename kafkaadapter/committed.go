package kafkaadapter

import (
	"context"
	"sync"

	"github.com/nova-events/idempotent-consumer/internal/engine"
	"github.com/nova-events/idempotent-consumer/internal/topics"
	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/group"
)

// committed are the offsets that the group has committed, as one generation finds them: of all
// partitions of its topics, not only of those that this member is assigned.
type committed struct {
	generation *group.Generation
	topics     []topics.Topic
	together   bool // the group begins in all of them together (engine.Source.Topics)

	mu     sync.Mutex
	places map[string][]engine.Committed // by topic, then by partition
}

// read asks for the offsets, once.
func (c *committed) read(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.places != nil {
		return nil
	}
	offsets, err := c.generation.Committed(ctx, partitionCounts(c.topics))
	if err != nil {
		return err
	}
	c.places = make(map[string][]engine.Committed, len(offsets))
	for topic, partitions := range offsets {
		places := make([]engine.Committed, len(partitions))
		for number, o := range partitions {
			places[number] = engine.Committed{Offset: max(o.Next, engine.None), Metadata: o.Metadata}
		}
		c.places[topic] = places
	}

	return nil
}

// of returns what is committed for a partition. A partition that was added after the generation
// began has nothing.
func (c *committed) of(topic string, partition int) engine.Committed {
	found := engine.Committed{Offset: engine.None}
	if places := c.places[topic]; partition < len(places) {
		found = places[partition]
	}
	found.Any = found.Offset != engine.None || c.any(topic)

	return found
}

// any tells whether something is committed for the topic, or for one of those with which it begins together.
func (c *committed) any(topic string) bool {
	if !c.together {
		return engine.AnyCommitted(c.places[topic])
	}
	for _, places := range c.places {
		if engine.AnyCommitted(places) {
			return true
		}
	}

	return false
}

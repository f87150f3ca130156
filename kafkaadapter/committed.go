package kafkaadapter

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/internal/engine"
	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/fetch"
)

// committed are the offsets that the group has committed, as one generation finds them: of all
// partitions of its topics, not only of those that this member is assigned.
type committed struct {
	client *kafka.Client
	group  string
	topics []fetch.Topic

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
	request := &kafka.OffsetFetchRequest{GroupID: c.group, Topics: make(map[string][]int)}
	places := make(map[string][]engine.Committed)
	for _, t := range c.topics {
		places[t.Name] = make([]engine.Committed, t.Partitions)
		for number := range t.Partitions {
			request.Topics[t.Name] = append(request.Topics[t.Name], number)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	response, err := c.client.OffsetFetch(ctx, request)
	if err == nil {
		err = response.Error
	}
	if err != nil {
		return fmt.Errorf("read the group's offsets: %w", err)
	}
	answered := 0
	for topic, partitions := range response.Topics {
		for _, p := range partitions {
			if p.Error != nil {
				return fmt.Errorf("read the group's offset of %s/%d: %w", topic, p.Partition, p.Error)
			}
			if p.Partition >= 0 && p.Partition < len(places[topic]) {
				places[topic][p.Partition] = engine.Committed{Offset: max(p.CommittedOffset, engine.None), Metadata: p.Metadata}
				answered++
			}
		}
	}
	for _, t := range c.topics {
		answered -= t.Partitions
	}
	if answered != 0 {
		// Taking it for "nothing is committed" would start the partition anywhere.
		return fmt.Errorf("read the group's offsets: the answer leaves partitions out: %w", kafka.UnknownTopicOrPartition)
	}
	c.places = places

	return nil
}

// of returns what is committed for a partition. A partition that was added after the generation
// began has nothing.
func (c *committed) of(topic string, partition int) engine.Committed {
	found := engine.Committed{Offset: engine.None}
	places := c.places[topic]
	if partition < len(places) {
		found = places[partition]
	}
	found.Any = slices.ContainsFunc(places, func(p engine.Committed) bool { return p.Offset != engine.None })

	return found
}

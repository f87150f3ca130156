package kafkaadapter

import (
	"context"
	"fmt"
	"sync"

	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/fetch"
)

// committed are the offsets that the group has committed, as one generation finds them: of all
// partitions of its topics, not only of those that this member is assigned.
type committed struct {
	client *kafka.Client
	group  string
	topics []fetch.Topic

	mu     sync.Mutex
	places map[string][]committedOffset // by topic, then by partition
}

type committedOffset struct {
	offset   int64 // none: nothing is committed
	metadata string
}

// read asks for the offsets, once.
func (c *committed) read(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.places != nil {
		return nil
	}
	request := &kafka.OffsetFetchRequest{GroupID: c.group, Topics: make(map[string][]int)}
	places := make(map[string][]committedOffset)
	for _, t := range c.topics {
		places[t.Name] = make([]committedOffset, t.Partitions)
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
				places[topic][p.Partition] = committedOffset{offset: max(p.CommittedOffset, none), metadata: p.Metadata}
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
func (c *committed) of(topic string, partition int) committedOffset {
	if places := c.places[topic]; partition < len(places) {
		return places[partition]
	}

	return committedOffset{offset: none}
}

// any reports whether something is committed for a partition of the topic.
func (c *committed) any(topic string) bool {
	for _, p := range c.places[topic] {
		if p.offset != none {
			return true
		}
	}

	return false
}

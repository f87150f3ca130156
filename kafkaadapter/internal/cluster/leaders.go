package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/wire"
)

// askPause is how often the leaders are asked for at most: a broker may not know yet that one has moved.
const askPause = 100 * time.Millisecond

// Follow has the client know the leaders of these topics' partitions. It asks for them when one is wanted that it
// does not know.
func (c *Client) Follow(topics []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.topics, c.asked = topics, time.Time{}
	clear(c.leaders)
}

// learn notes what a broker has said of the cluster.
func (c *Client) learn(m Metadata) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.brokers = m.brokers
	for _, topic := range c.topics {
		if leaders, ok := m.leaders[topic]; ok {
			c.leaders[topic] = leaders
		}
	}
	c.letGo()
}

// Leader returns the broker that leads a partition. It asks for it only if nobody has done so since the partition
// Moved.
func (c *Client) Leader(ctx context.Context, topic string, partition int) (broker int32, err error) {
	if broker, err = c.knownLeader(topic, partition); err == nil {
		return broker, nil
	}
	if err := c.finding.take(ctx); err != nil {
		return noLeader, err
	}
	defer c.finding.pass()
	if broker, err = c.knownLeader(topic, partition); err == nil {
		return broker, nil // Somebody else has asked.
	}
	c.mu.Lock()
	topics, due := c.topics, time.Since(c.asked) >= askPause
	c.mu.Unlock()
	if due {
		_, failed := c.Metadata(ctx, topics...)
		if ctx.Err() != nil {
			return noLeader, context.Cause(ctx)
		}
		c.mu.Lock()
		c.asked, c.failed = time.Now(), failed
		c.mu.Unlock()
	}

	return c.knownLeader(topic, partition)
}

func (c *Client) knownLeader(topic string, partition int) (int32, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	leaders, ok := c.leaders[topic]
	switch {
	case !ok && c.failed != nil:
		return noLeader, c.failed
	case !ok:
		return noLeader, protocol.NewErrNoTopic(topic)
	case partition < 0 || partition >= len(leaders):
		return noLeader, protocol.NewErrNoPartition(topic, int32(partition)) //nolint:gosec // Kafka's partitions have 32 bits.
	case leaders[partition] == noLeader && c.failed != nil:
		return noLeader, c.failed
	case leaders[partition] == noLeader:
		return noLeader, protocol.NewErrNoLeader(topic, int32(partition)) //nolint:gosec // Kafka's partitions have 32 bits.
	default:
		return leaders[partition], nil
	}
}

// Moved says that a broker, which was the leader of a partition, perhaps is no more, because of err.
// If err does not mean that, nothing happens.
func (c *Client) Moved(topic string, partition int, from int32, err error) {
	if err == nil || !hasMoved(err) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if leaders := c.leaders[topic]; partition < len(leaders) && leaders[partition] == from {
		leaders[partition] = noLeader
	}
}

// hasMoved reports whether an error may mean that the leader is another broker now, or has another address.
func hasMoved(err error) bool {
	var code kafka.Error
	if !errors.As(err, &code) {
		return !errors.Is(err, wire.ErrMalformed) && !errors.Is(err, context.Canceled) // The broker is away.
	}
	switch code {
	case kafka.NotLeaderForPartition, kafka.FencedLeaderEpoch, kafka.UnknownLeaderEpoch, kafka.LeaderNotAvailable, kafka.ReplicaNotAvailable,
		kafka.KafkaStorageError, kafka.UnknownTopicOrPartition, kafka.UnknownTopicID:
		return true
	default:
		return false
	}
}

// addressOf returns where a broker is.
func (c *Client) addressOf(broker int32) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	address, ok := c.brokers[broker]
	if !ok {
		return "", fmt.Errorf("broker %d is unknown: %w", broker, kafka.LeaderNotAvailable)
	}

	return address, nil
}

// atLeader does something at the leader of a partition. An error can say that the leader has moved.
func (c *Client) atLeader(ctx context.Context, topic string, partition int, do func(address string) error) error {
	leader, err := c.Leader(ctx, topic, partition)
	if err != nil {
		return err
	}
	address, err := c.addressOf(leader)
	if err == nil {
		err = do(address)
	}
	c.Moved(topic, partition, leader, err)

	return err
}

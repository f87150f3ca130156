package broker

import (
	"context"
	"errors"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Settings are those of a topic, such as "cleanup.policy": "compact".
type Settings map[string]string

// CreateTopic creates a topic with a unique name, which it returns. The topic is deleted when
// the test ends.
func (b *Broker) CreateTopic(t testing.TB, partitions int, settings Settings) string {
	t.Helper()
	topic := kafka.TopicConfig{Topic: Name(t), NumPartitions: partitions, ReplicationFactor: -1}
	for name, value := range settings {
		topic.ConfigEntries = append(topic.ConfigEntries, kafka.ConfigEntry{ConfigName: name, ConfigValue: value})
	}
	ctx, cancel := requestContext(t)
	defer cancel()
	response, err := b.Client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{topic}})
	if err == nil {
		err = response.Errors[topic.Topic]
	}
	if err != nil {
		t.Fatalf("create topic %s: %v", topic.Topic, err)
	}
	t.Cleanup(func() { b.DeleteTopic(t, topic.Topic) })

	return topic.Topic
}

// DeleteTopic deletes a topic, unless that is done already.
func (b *Broker) DeleteTopic(t testing.TB, topic string) {
	t.Helper()
	if b.Fake != nil { // It knows no other controller once that is killed.
		if err := b.Fake.DeleteTopic(topic); err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
			t.Error(err)
		}

		return
	}
	b.retry(t, "delete topic "+topic, func(ctx context.Context) error {
		response, err := b.Client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
		if err == nil {
			err = response.Errors[topic]
		}
		if errors.Is(err, kafka.UnknownTopicOrPartition) {
			return nil
		}

		return err
	})
}

// Committed returns the offsets that a group has committed for a topic, by partition. Those of
// which there is none are left out.
func (b *Broker) Committed(t testing.TB, group, topic string) (committed map[int]int64) {
	t.Helper()
	b.retry(t, "read the offsets of group "+group, func(ctx context.Context) (err error) {
		committed, err = b.committed(ctx, group, topic)

		return err
	})

	return committed
}

// CommittedReader returns a function like Committed that asks for stable offsets, until close is called. A
// coordinator of Apache Kafka that has just taken over else answers with what it knew to be replicated
// before, which can be behind what its predecessor had answered.
func (b *Broker) CommittedReader(t testing.TB, group, topic string) (read func() map[int]int64, closeReader func()) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs...))
	if err != nil {
		t.Fatal(err)
	}

	return func() (committed map[int]int64) {
		b.retry(t, "read the stable offsets of group "+group, func(ctx context.Context) error {
			request := kmsg.NewPtrOffsetFetchRequest()
			request.Group, request.RequireStable = group, true
			response, err := request.RequestWith(ctx, client)
			if err == nil {
				err = kerr.ErrorForCode(response.ErrorCode)
			}
			if errors.Is(err, kerr.GroupIDNotFound) {
				return nil
			}
			committed = map[int]int64{}
			for _, of := range response.Topics {
				for _, p := range of.Partitions {
					err = errors.Join(err, kerr.ErrorForCode(p.ErrorCode))
					if of.Topic == topic && p.Offset >= 0 {
						committed[int(p.Partition)] = p.Offset
					}
				}
			}

			return err
		})

		return committed
	}, client.Close
}

func (b *Broker) committed(ctx context.Context, group, topic string) (map[int]int64, error) {
	metadata, err := b.Client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return nil, err
	}
	partitions := map[string][]int{}
	for _, partition := range metadata.Topics[0].Partitions {
		partitions[topic] = append(partitions[topic], partition.ID)
	}
	response, err := b.Client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: partitions})
	if err == nil {
		err = response.Error
	}
	if errors.Is(err, kafka.GroupIdNotFound) {
		return nil, nil //nolint:nilnil // Apache Kafka answers with an offset of -1.
	}
	if err != nil {
		return nil, err
	}

	committed := map[int]int64{}
	for _, partition := range response.Topics[topic] {
		if partition.Error != nil {
			return nil, partition.Error
		}
		if partition.CommittedOffset >= 0 {
			committed[partition.Partition] = partition.CommittedOffset
		}
	}

	return committed, nil
}

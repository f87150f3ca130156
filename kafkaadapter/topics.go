package kafkaadapter

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/internal/backoff"
	"github.com/nova-events/idempotent-consumer/internal/topics"
)

const (
	// topicWatchInterval is how often the group looks for new or recreated topics, and for new
	// partitions; firstTopicWatch is when it does so first in a generation.
	topicWatchInterval = 5 * time.Second
	firstTopicWatch    = time.Second
)

// client is what package topics has to know of kafka-go.
var client = topics.Client{Adapter: "kafkaadapter", Missing: kafka.UnknownTopicOrPartition, IsMissing: unknownTopic, Fatal: fatal}

// ask returns how topics are asked for.
func (c *Consumer) ask(connections *connections) topics.Ask {
	return func(ctx context.Context, names ...string) (topics.Cluster, error) {
		found, err := connections.Metadata(ctx, names...)

		return found.Cluster, c.config.explained(err)
	}
}

// watchTopics returns when the topics or their partitions have changed (a topic of the same name can
// be a new one), or when this member, as the group's leader, has assigned other partitions than there
// are. Then the members must join again.
func (g *generation) watchTopics(ctx context.Context) {
	for interval := firstTopicWatch; backoff.Sleep(ctx, interval); interval = topicWatchInterval {
		found, err := g.consumer.topics.Find(ctx, g.consumer.ask(g.member.connections))
		if err != nil {
			continue
		}
		if !slices.EqualFunc(g.topics, found.Topics, topics.Topic.Same) {
			return
		}
		counts := partitionCounts(found.Topics)
		others := slices.DeleteFunc(slices.Clone(g.group.Topics()), func(topic string) bool { return counts[topic] > 0 })
		more, err := partitionsOf(ctx, g.member.connections, others)
		if err != nil {
			continue
		}
		maps.Copy(counts, more)
		if g.group.Undealt(counts) {
			g.log.WarnContext(ctx, "kafkaadapter: partitions are assigned to nobody, joining again")

			return
		}
	}
}

// partitionCounts are how many partitions topics have.
func partitionCounts(all []topics.Topic) map[string]int {
	counts := make(map[string]int, len(all))
	for _, t := range all {
		counts[t.Name] = t.Partitions
	}

	return counts
}

// topicOf returns the topic of that name, or nothing.
func topicOf(all []topics.Topic, name string) topics.Topic {
	for _, t := range all {
		if t.Name == name {
			return t
		}
	}

	return topics.Topic{}
}

package kafkaadapter

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
	"github.com/nova-events/idempotent-consumer/internal/engine"
	"github.com/nova-events/idempotent-consumer/internal/onceper"
	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/cluster"
)

const (
	// topicWatchInterval is how often the group looks for new or recreated topics, and for new
	// partitions; firstTopicWatch is when it does so first in a generation.
	topicWatchInterval = 5 * time.Second
	firstTopicWatch    = time.Second
)

// awaitTopics returns the topics to consume once all exist, or one at least that matches
// Config.TopicPattern.
func (c *Consumer) awaitTopics(ctx context.Context, connections *connections) (cluster.Metadata, error) {
	deadline := time.Now().Add(c.config.TopicGrace)
	var told onceper.Limit
	for failed := 1; ; failed++ {
		found, err := c.findTopics(ctx, connections)
		switch {
		case err == nil || ctx.Err() != nil:
			return found, nil //nolint:nilerr // All is there, or it was told to stop.
		case unknownTopic(err) && time.Now().After(deadline):
			return cluster.Metadata{}, fmt.Errorf("%w: %w; create it or correct Config.Topics or TopicPattern", consume.ErrUnknownTopic, err)
		case !unknownTopic(err):
			if err := fatal(err); err != nil {
				return cluster.Metadata{}, err
			}
			deadline = time.Now().Add(c.config.TopicGrace) // Nobody has said that it is missing.
		}
		c.engine.Become(consume.Starting, c.config.explained(err))
		if told.Due(time.Minute) {
			c.consume.Logger.WarnContext(ctx, "kafkaadapter: waiting for the topics", "error", c.config.explained(err))
		}
		backoff.Sleep(ctx, min(time.Second, engine.RetryPauses.Pause(failed)))
	}
}

// findTopics returns the topics in the order of their names.
func (c *Consumer) findTopics(ctx context.Context, connections *connections) (cluster.Metadata, error) {
	found, err := connections.Metadata(ctx, c.config.Topics...)
	if err != nil {
		return cluster.Metadata{}, err
	}
	topics := found.Topics
	if pattern := c.config.TopicPattern; pattern != nil {
		dead := c.consume.Failure.DeadLetterSuffix
		topics = slices.DeleteFunc(topics, func(t cluster.Topic) bool {
			return t.Internal || !pattern.MatchString(t.Name) || dead != "" && strings.HasSuffix(t.Name, dead)
		})
	}
	if topics, err = c.withDeadLetterTopics(ctx, connections, topics); err != nil {
		return cluster.Metadata{}, err
	}
	if len(topics) == 0 {
		return cluster.Metadata{}, fmt.Errorf("%w: none matches %v", kafka.UnknownTopicOrPartition, c.config.TopicPattern)
	}
	for _, t := range topics {
		if t.Err != nil {
			return cluster.Metadata{}, fmt.Errorf("topic %q: %w", t.Name, t.Err)
		}
	}
	slices.SortFunc(topics, func(a, b cluster.Topic) int { return strings.Compare(a.Name, b.Name) })
	found.Topics = topics

	return found, nil
}

// withDeadLetterTopics checks that topics have one for their dead letters. One that was found by
// a pattern and has none is left out.
func (c *Consumer) withDeadLetterTopics(ctx context.Context, connections *connections, topics []cluster.Topic) ([]cluster.Topic, error) {
	names := c.deadLetterTopics(topicNames(topics))
	if len(names) == 0 {
		return topics, nil
	}
	found, err := connections.Metadata(ctx, names...)
	if err != nil {
		return nil, err
	}
	missing := make(map[string]error)
	for _, t := range found.Topics {
		if t.Err != nil {
			missing[t.Name] = t.Err
		}
	}

	topics = slices.DeleteFunc(topics, func(t cluster.Topic) bool {
		deadLetters := t.Name + c.consume.Failure.DeadLetterSuffix
		reason := missing[deadLetters]
		switch {
		case reason == nil:
			return false
		case c.config.TopicPattern == nil:
			err = fmt.Errorf("topic %q: %w", deadLetters, reason)
		default:
			c.consume.Logger.WarnContext(ctx, "kafkaadapter: topic left out because its topic for dead letters is missing", "topic", t.Name, "missing", deadLetters)
		}

		return true
	})

	return topics, err
}

func (c *Consumer) deadLetterTopics(topics []string) []string {
	if c.consume.Failure.DeadLetterSuffix == "" {
		return nil
	}
	names := make([]string, len(topics))
	for i, topic := range topics {
		names[i] = topic + c.consume.Failure.DeadLetterSuffix
	}

	return names
}

// watchTopics returns when there are other topics than those, be it of the same name, or other
// partitions, or if this member, as the group's leader, has dealt out other partitions than there are.
// Then the members must join again.
func (g *generation) watchTopics(ctx context.Context) {
	for interval := firstTopicWatch; backoff.Sleep(ctx, interval); interval = topicWatchInterval {
		found, err := g.consumer.findTopics(ctx, g.member.connections)
		if err != nil {
			continue
		}
		if !slices.Equal(g.topics, found.Topics) {
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
			g.log.WarnContext(ctx, "kafkaadapter: partitions belong to nobody, joining again to deal them out")

			return
		}
	}
}

// partitionCounts are how many partitions topics have.
func partitionCounts(topics []cluster.Topic) map[string]int {
	counts := make(map[string]int, len(topics))
	for _, t := range topics {
		counts[t.Name] = t.Partitions
	}

	return counts
}

func topicNames(topics []cluster.Topic) []string {
	names := make([]string, len(topics))
	for i, t := range topics {
		names[i] = t.Name
	}

	return names
}

// topicOf returns the topic of that name, or nothing.
func topicOf(topics []cluster.Topic, name string) cluster.Topic {
	for _, t := range topics {
		if t.Name == name {
			return t
		}
	}

	return cluster.Topic{}
}

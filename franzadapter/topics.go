package franzadapter

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
	"github.com/nova-events/idempotent-consumer/internal/engine"
)

// topic is what a broker says of a topic.
type topic struct {
	name     string
	id       uuid.UUID // tells it from another topic of that name, before or after
	internal bool      // one of Kafka's own
	err      error     // why nothing more is known
	leaders  []int32   // brokers, by partition; -1 if there is none
}

// cluster is what a broker says of its cluster.
type cluster struct {
	id     string
	topics []topic
}

// ask asks a broker for its cluster and the topics of these names, or with none for all that the user
// may see.
func ask(ctx context.Context, client *kgo.Client, names ...string) (cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	request := kmsg.NewPtrMetadataRequest()
	for _, name := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = new(name)
		request.Topics = append(request.Topics, t)
	}
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return cluster{}, fmt.Errorf("ask for the topics: %w", err)
	}
	var c cluster
	if response.ClusterID != nil {
		c.id = *response.ClusterID
	}
	for _, found := range response.Topics {
		t := topic{id: found.TopicID, internal: found.IsInternal, err: kerr.ErrorForCode(found.ErrorCode), leaders: make([]int32, len(found.Partitions))}
		if found.Topic != nil {
			t.name = *found.Topic
		}
		for _, p := range found.Partitions {
			if int(p.Partition) < 0 || int(p.Partition) >= len(t.leaders) {
				t.err = kerr.UnknownTopicOrPartition // Some of its partitions are left out.

				break
			}
			t.leaders[p.Partition] = p.Leader
		}
		c.topics = append(c.topics, t)
	}

	return c, nil
}

// awaitTopics returns the topics to consume once all exist, or one at least that matches
// Config.TopicPattern.
func (c *Consumer) awaitTopics(ctx context.Context, client *kgo.Client) (cluster, error) {
	deadline := time.Now().Add(c.config.TopicGrace)
	for failed := 1; ; failed++ {
		found, err := c.findTopics(ctx, client)
		switch {
		case err == nil || ctx.Err() != nil:
			return found, nil //nolint:nilerr // All is there, or it was told to stop.
		case unknownTopic(err) && time.Now().After(deadline):
			return cluster{}, fmt.Errorf("%w: %w; create it or correct Config.Topics or TopicPattern", consume.ErrUnknownTopic, err)
		case !unknownTopic(err):
			if err := fatal(err); err != nil {
				return cluster{}, err
			}
			deadline = time.Now().Add(c.config.TopicGrace) // Nobody has said that it is missing.
		}
		c.consume.Logger.WarnContext(ctx, "franzadapter: waiting for the topics", "error", err)
		backoff.Sleep(ctx, min(time.Second, engine.RetryPauses.Pause(failed)))
	}
}

// findTopics returns the topics in the order of their names, or an error if any is missing.
func (c *Consumer) findTopics(ctx context.Context, client *kgo.Client) (cluster, error) {
	found, err := c.lookup(ctx, client)
	if err != nil {
		return cluster{}, err
	}
	if len(found.topics) == 0 {
		return cluster{}, fmt.Errorf("%w: none matches %v", kerr.UnknownTopicOrPartition, c.config.TopicPattern)
	}
	for _, t := range found.topics {
		if t.err != nil {
			return cluster{}, fmt.Errorf("topic %q: %w", t.name, t.err)
		}
	}
	slices.SortFunc(found.topics, func(a, b topic) int { return strings.Compare(a.name, b.name) })

	return found, nil
}

// lookup returns the topics to consume. Those that are named and missing have an error.
func (c *Consumer) lookup(ctx context.Context, client *kgo.Client) (cluster, error) {
	found, err := ask(ctx, client, c.config.Topics...)
	if err != nil {
		return cluster{}, err
	}
	suffix := c.consume.Failure.DeadLetterSuffix
	if pattern := c.config.TopicPattern; pattern != nil {
		found.topics = slices.DeleteFunc(found.topics, func(t topic) bool {
			return t.internal || !pattern.MatchString(t.name) || suffix != "" && strings.HasSuffix(t.name, suffix)
		})
	}
	if suffix != "" && len(found.topics) > 0 {
		err = c.checkDeadLetterTopics(ctx, client, &found)
	}

	return found, err
}

// checkDeadLetterTopics checks that topics have one for their dead letters. One that was found by
// a pattern and has none is left out.
func (c *Consumer) checkDeadLetterTopics(ctx context.Context, client *kgo.Client, found *cluster) error {
	suffix := c.consume.Failure.DeadLetterSuffix
	names := make([]string, len(found.topics))
	for i, t := range found.topics {
		names[i] = t.name + suffix
	}
	others, err := ask(ctx, client, names...)
	if err != nil {
		return err
	}
	missing := make(map[string]error)
	for _, t := range others.topics {
		if t.err != nil {
			missing[t.name] = t.err
		}
	}
	if c.config.TopicPattern == nil {
		for i, t := range found.topics {
			if reason := missing[t.name+suffix]; reason != nil && t.err == nil {
				found.topics[i].err = fmt.Errorf("its topic for dead letters %q: %w", t.name+suffix, reason)
			}
		}

		return nil
	}
	found.topics = slices.DeleteFunc(found.topics, func(t topic) bool {
		if missing[t.name+suffix] == nil {
			return false
		}
		if c.leftOut.Due(time.Minute) {
			c.consume.Logger.WarnContext(ctx, "franzadapter: topic left out because its topic for dead letters is missing", "topic", t.name, "missing", t.name+suffix)
		}

		return true
	})

	return nil
}

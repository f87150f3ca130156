package franzadapter

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nova-events/idempotent-consumer/internal/engine"
	"github.com/nova-events/idempotent-consumer/internal/topics"
)

// committed are the offsets that the group has committed, as those find them who are assigned partitions
// together: of all partitions of their topics, not only of those that this member is assigned. They are read
// once, all with one request: a member may be assigned thousands of topics.
type committed struct {
	member *member
	names  []string // the topics that were assigned together

	mu     sync.Mutex
	topics map[[16]byte]topicOffsets
}

// topicOffsets are what is committed for the partitions of a topic, or why that is not known.
type topicOffsets struct {
	places []engine.Committed // by partition
	err    error
}

func newCommitted(m *member, names ...string) *committed {
	return &committed{member: m, names: names, topics: make(map[[16]byte]topicOffsets)}
}

// of returns what is committed for a partition.
func (c *committed) of(ctx context.Context, t topics.Topic, number int32) (engine.Committed, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if int(number) >= len(c.topics[t.ID].places) { // Nor does it help to know what its other partitions had before.
		if err := c.read(ctx, t, c.names...); err != nil {
			return engine.Committed{}, err
		}
	}
	known := c.topics[t.ID]
	if known.err != nil {
		return engine.Committed{}, known.err
	}
	found := known.places[number]
	if found.Any = engine.AnyCommitted(known.places); found.Any || c.member.consumer.config.TopicPattern == nil {
		return found, nil
	}
	var err error
	found.Any, err = c.anyOfAll(ctx, t)

	return found, err
}

// anyOfAll tells whether something is committed for any topic that matches the pattern.
func (c *committed) anyOfAll(ctx context.Context, t topics.Topic) (bool, error) {
	all := c.member.view.latest.Load().byName
	var unknown []string
	for name, other := range all {
		if _, known := c.topics[other.ID]; !known {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		if err := c.read(ctx, t, unknown...); err != nil {
			return false, err
		}
	}
	for _, other := range all {
		switch known := c.topics[other.ID]; {
		case engine.AnyCommitted(known.places):
			return true, nil
		case known.err != nil:
			delete(c.topics, other.ID) // To be asked for again.

			return false, known.err
		}
	}

	return false, nil
}

// read reads what is known of a topic, and of others of which nothing is known yet.
func (c *committed) read(ctx context.Context, t topics.Topic, others ...string) error {
	unknown := map[[16]byte]topics.Topic{t.ID: t}
	latest := c.member.view.latest.Load()
	for _, name := range others {
		other, ok := latest.byName[name]
		if _, known := c.topics[other.ID]; ok && !known && other.Err == nil && name != t.Name {
			unknown[other.ID] = other
		}
	}
	all := slices.Collect(maps.Values(unknown))
	found, err := c.member.readCommitted(ctx, all)
	if err != nil {
		return fmt.Errorf("read the group's offsets: %w", err)
	}
	for _, asked := range all {
		c.topics[asked.ID] = offsetsOf(asked, found)
	}

	return nil
}

// readCommitted asks for the stable offsets of the partitions of topics. With ServerSideBalancer the broker
// refuses it to a member that has lost its place.
func (m *member) readCommitted(ctx context.Context, all []topics.Topic) ([]kmsg.OffsetFetchResponseGroupTopic, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	request := kmsg.NewPtrOffsetFetchRequest()
	request.RequireStable = true
	group := kmsg.NewOffsetFetchRequestGroup()
	group.Group = m.consumer.config.Group
	if id, epoch := m.client.GroupMetadata(); id != "" && m.consumer.config.ServerSideBalancer {
		group.MemberID, group.MemberEpoch = &id, epoch
	}
	for _, t := range all {
		asked := kmsg.NewOffsetFetchRequestGroupTopic()
		asked.Topic, asked.TopicID = t.Name, t.ID
		for number := range t.Leaders {
			asked.Partitions = append(asked.Partitions, int32(number))
		}
		group.Topics = append(group.Topics, asked)
	}
	request.Groups = append(request.Groups, group)
	response, err := request.RequestWith(ctx, m.client)
	switch {
	case err != nil:
		return nil, err
	case response.ErrorCode != 0:
		return nil, kerr.ErrorForCode(response.ErrorCode)
	case len(response.Groups) != 1:
		return nil, errLeftOut
	default:
		return response.Groups[0].Topics, kerr.ErrorForCode(response.Groups[0].ErrorCode)
	}
}

// offsetsOf finds a topic in an answer. Some brokers send its name, others its id.
func offsetsOf(t topics.Topic, answer []kmsg.OffsetFetchResponseGroupTopic) topicOffsets {
	places := make([]engine.Committed, len(t.Leaders))
	answered := 0
	for _, found := range answer {
		if found.TopicID != t.ID && found.Topic != t.Name {
			continue
		}
		for _, p := range found.Partitions {
			err := kerr.ErrorForCode(p.ErrorCode)
			if errors.Is(err, kerr.UnstableOffsetCommit) {
				err = fmt.Errorf("a transaction that commits offsets of the group is open: %w", err)
			}
			if err != nil {
				return topicOffsets{err: fmt.Errorf("read the group's offset of %s/%d: %w", t.Name, p.Partition, err)}
			}
			if p.Partition < 0 || int(p.Partition) >= len(places) {
				continue
			}
			places[p.Partition] = engine.Committed{Offset: max(p.Offset, engine.None)}
			if p.Metadata != nil {
				places[p.Partition].Metadata = *p.Metadata
			}
			answered++
		}
	}
	if answered != len(places) {
		// Taking it for "nothing is committed" would start the partition anywhere.
		return topicOffsets{err: fmt.Errorf("read the group's offsets of %s: %w", t.Name, errLeftOut)}
	}

	return topicOffsets{places: places}
}

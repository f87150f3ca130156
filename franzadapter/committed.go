package franzadapter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nova-events/idempotent-consumer/internal/engine"
)

// committed are the offsets that the group has committed, as those find them who are assigned partitions
// together: of all partitions of a topic, not only of those that this member is assigned. They are read
// once.
type committed struct {
	member *member

	mu     sync.Mutex
	topics map[[16]byte][]engine.Committed // by partition
}

func newCommitted(m *member) *committed {
	return &committed{member: m, topics: make(map[[16]byte][]engine.Committed)}
}

// of returns what is committed for a partition.
func (c *committed) of(ctx context.Context, t topic, number int32) (engine.Committed, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	places, ok := c.topics[t.id]
	if !ok {
		var err error
		if places, err = c.member.readCommitted(ctx, t); err != nil {
			return engine.Committed{}, err
		}
		c.topics[t.id] = places
	}
	found := engine.Committed{Offset: engine.None}
	if int(number) < len(places) {
		found = places[number]
	}
	found.Any = slices.ContainsFunc(places, func(p engine.Committed) bool { return p.Offset != engine.None })

	return found, nil
}

// readCommitted asks for the stable offsets of a topic's partitions. With ServerSideBalancer the broker
// refuses it to a member that has lost its place.
func (m *member) readCommitted(ctx context.Context, t topic) ([]engine.Committed, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	request := kmsg.NewPtrOffsetFetchRequest()
	request.RequireStable = true
	group := kmsg.NewOffsetFetchRequestGroup()
	group.Group = m.consumer.config.Group
	if id, epoch := m.client.GroupMetadata(); id != "" && m.consumer.config.ServerSideBalancer {
		group.MemberID, group.MemberEpoch = &id, epoch
	}
	asked := kmsg.NewOffsetFetchRequestGroupTopic()
	asked.Topic, asked.TopicID = t.name, t.id
	for number := range t.leaders {
		asked.Partitions = append(asked.Partitions, int32(number))
	}
	group.Topics = append(group.Topics, asked)
	request.Groups = append(request.Groups, group)
	response, err := request.RequestWith(ctx, m.client)
	if err == nil {
		err = kerr.ErrorForCode(response.ErrorCode)
	}
	if err == nil && len(response.Groups) != 1 {
		err = errLeftOut
	}
	if err == nil {
		err = kerr.ErrorForCode(response.Groups[0].ErrorCode)
	}
	if err != nil {
		return nil, fmt.Errorf("read the group's offsets: %w", err)
	}
	places := make([]engine.Committed, len(t.leaders))
	answered := 0
	for _, found := range response.Groups[0].Topics {
		for _, p := range found.Partitions {
			err := kerr.ErrorForCode(p.ErrorCode)
			if errors.Is(err, kerr.UnstableOffsetCommit) {
				err = fmt.Errorf("a transaction that commits offsets of the group is open: %w", err)
			}
			if err != nil {
				return nil, fmt.Errorf("read the group's offset of %s/%d: %w", t.name, p.Partition, err)
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
		return nil, fmt.Errorf("read the group's offsets: %w", errLeftOut)
	}

	return places, nil
}

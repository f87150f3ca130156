package group

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/nova-events/idempotent-consumer/internal/backoff"
	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/wire"
)

// protocolType is that of consumers.
const protocolType = "consumer"

const otherType = "the group is not one of consumers, but a share group, for instance; use another Config.Group"

// joined is the answer to a member that joins.
type joined struct {
	generation int32
	protocol   string
	leader     string
	assigned   bool // the leader is back, and what it has assigned stays as it is
	member     string
	members    []joinedMember // sent to the leader only
}

type joinedMember struct {
	id, instance string
	subscription []byte
}

// join tries once.
func (m *Member) join(ctx context.Context, topics []string) (*Generation, error) {
	subscription := Subscription{Topics: topics}.encode()
	j, err := m.askToJoin(ctx, subscription)
	if errors.Is(err, kafka.MemberIDRequired) {
		m.id = j.member // So that a member which is cut off is not waited for under an id that nobody knows.
		j, err = m.askToJoin(ctx, subscription)
	}
	if err != nil {
		return nil, err
	}
	m.id = j.member
	if j.protocol != assignorName {
		return nil, fmt.Errorf("the group has chosen assignor %q: %w", j.protocol, kafka.InconsistentGroupProtocol)
	}

	g := newGeneration(ctx, m, j)
	if err := g.sync(ctx, j); err != nil {
		g.quiet(err)
		if cause := g.Err(); ctx.Err() == nil && cause != nil {
			err = cause // Heartbeats knew it first.
		}

		return nil, err
	}

	return g, nil
}

func (m *Member) askToJoin(ctx context.Context, subscription []byte) (joined, error) {
	var j joined
	err := m.coordinator.do(ctx, request{
		// From version 9 on the broker tells a static leader that is back that it is the leader.
		key: protocol.JoinGroup, oldest: 7, newest: 9, timeout: m.config.RebalanceTimeout + requestTimeout,
		encode: func(w *wire.Writer, version int16) {
			w.CompactString(m.config.Group)
			w.Int32(int32(m.config.SessionTimeout.Milliseconds()))   //nolint:gosec // The caller has checked it.
			w.Int32(int32(m.config.RebalanceTimeout.Milliseconds())) //nolint:gosec // The caller has checked it.
			w.CompactString(m.id)
			w.CompactNullable(m.config.InstanceID)
			w.CompactString(protocolType)
			w.CompactCount(1)
			w.CompactString(assignorName)
			w.CompactBytes(subscription)
			w.NoTags()
			if version >= 8 {
				w.CompactNullable("") // reason
			}
			w.NoTags()
		},
		decode: func(a *wire.Answer) kafka.Error {
			a.Int32() // throttle time
			code := a.Int16()
			j.generation = a.Int32()
			a.CompactBytes() // type of protocol
			j.protocol, j.leader = a.CompactString(), a.CompactString()
			j.assigned = a.Version >= 9 && a.Bool()
			j.member = a.CompactString()
			const leastMember = 4
			j.members = make([]joinedMember, a.CompactCount(leastMember))
			for i := range j.members {
				j.members[i] = joinedMember{a.CompactString(), a.CompactString(), a.CompactBytes()}
				a.Tags()
			}

			return kafka.Error(code)
		},
	})

	return j, err
}

// sync learns which partitions this member has. The leader deals them out first.
func (g *Generation) sync(ctx context.Context, j joined) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(g.ctx, cancel)() //nolint:contextcheck // A generation that is over is not waited for.

	var dealt []memberAssignment
	if g.Leader {
		members := g.member.read(j.members)
		g.topics = topicsOf(members)
		if !j.assigned {
			var err error
			if dealt, err = g.deal(ctx, members); err != nil {
				return err
			}
		}
	}
	var data []byte
	g.syncing.Lock()
	defer g.syncing.Unlock()
	err := g.member.coordinator.do(ctx, request{
		key: protocol.SyncGroup, oldest: 5, newest: 5, timeout: g.member.config.RebalanceTimeout + requestTimeout,
		encode: func(w *wire.Writer, _ int16) {
			g.identify(w)
			w.CompactString(protocolType)
			w.CompactString(assignorName)
			w.CompactCount(len(dealt))
			for _, d := range dealt {
				w.CompactString(d.member)
				w.CompactBytes(d.assignment)
				w.NoTags()
			}
			w.NoTags()
		},
		decode: func(a *wire.Answer) kafka.Error {
			a.Int32() // throttle time
			code := a.Int16()
			a.CompactBytes() // type of protocol
			a.CompactBytes() // protocol
			data = a.CompactBytes()

			return kafka.Error(code)
		},
	})
	if err != nil {
		return err
	}
	assignment, err := DecodeAssignment(data)
	if err != nil {
		return fmt.Errorf("assignment of %d bytes: %w", len(data), err)
	}
	g.take(assignment)

	return nil
}

// read reads what the members subscribe to. One that cannot be understood gets no partitions, and does
// not stop the others.
func (m *Member) read(all []joinedMember) []groupMember {
	members := make([]groupMember, len(all))
	for i, one := range all {
		subscription, err := DecodeSubscription(one.subscription)
		if err != nil {
			m.config.Log(slog.LevelError, "consumer group: a member gets no partitions, because its subscription cannot be read",
				"member", one.id, "bytes", len(one.subscription), "error", err)
		}
		members[i] = groupMember{one.id, one.instance, subscription.Topics}
	}

	return members
}

type memberAssignment struct {
	member     string
	assignment []byte
}

// deal assigns the partitions of all topics.
func (g *Generation) deal(ctx context.Context, members []groupMember) ([]memberAssignment, error) {
	const doing = "dealing out the partitions"
	for failed := 1; ; failed++ {
		counts, err := g.member.config.Partitions(ctx, g.topics)
		if err == nil {
			g.member.teller.goesOn(doing)
			g.digest = digest(g.topics, counts)

			return g.dealt(members, assignRange(members, counts)), nil
		}
		g.member.teller.waits(doing, "the topics cannot be read", err)
		if !backoff.Sleep(ctx, pauses.Pause(failed)) {
			return nil, err
		}
	}
}

// dealt adds the digest to the assignment of a static leader alone, who may get that again. Kafka upgrades no group to
// KIP-848 in which an assignment has data of its own.
func (g *Generation) dealt(members []groupMember, partitions map[string][]TopicPartitions) []memberAssignment {
	all := make([]memberAssignment, len(members))
	for i, m := range members {
		assignment := Assignment{Partitions: partitions[m.id]}
		if m.instance != "" && m.instance == g.member.config.InstanceID {
			assignment.UserData = g.digest
		}
		all[i] = memberAssignment{m.id, assignment.encode()}
	}

	return all
}

// take stores what the leader has assigned to this member.
func (g *Generation) take(assignment Assignment) {
	for _, t := range assignment.Partitions {
		g.Assignments[t.Topic] = slices.Compact(slices.Sorted(slices.Values(append(g.Assignments[t.Topic], t.Partitions...))))
	}
	if g.Leader && g.digest == nil && bytes.HasPrefix(assignment.UserData, []byte(digestMark)) {
		g.digest = assignment.UserData // This member had assigned them, before it was restarted.
	}
}

package kafkaadapter

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/consume"
)

const (
	// joinBackoff is the pause after a failed attempt to join the group.
	joinBackoff = 500 * time.Millisecond

	// topicWatchInterval is how often the group looks for new or recreated topics, and for new
	// partitions; firstTopicWatch is when it does so first in a generation.
	topicWatchInterval = 5 * time.Second
	firstTopicWatch    = time.Second

	// leaveTimeout is how long an orderly leave may take before connections are cut: longer
	// only if kafka-go is in the middle of joining, which it does not interrupt, or if the
	// broker does not answer.
	leaveTimeout = 500 * time.Millisecond
)

// membership is this process's place in the consumer group.
type membership struct {
	group       *kafka.ConsumerGroup
	connections *connections
	memberID    string // of the latest generation

	// dealt are the numbers of partitions, by topic, that this member as the group's leader has dealt
	// out for the next generation.
	dealt atomic.Pointer[map[string]int]

	leaving sync.Once
	left    chan struct{} // closed when it is done
}

func join(config Config, log *slog.Logger, topics []string, connections *connections) (*membership, error) {
	m := &membership{connections: connections, left: make(chan struct{})}
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID:                config.Group,
		Brokers:           config.Brokers,
		Topics:            topics,
		Dialer:            connections.forGroup(config),
		HeartbeatInterval: config.HeartbeatInterval,
		SessionTimeout:    config.SessionTimeout,
		RebalanceTimeout:  config.RebalanceTimeout,
		JoinGroupBackoff:  joinBackoff,
		GroupBalancers:    []kafka.GroupBalancer{dealer{kafka.RangeGroupBalancer{}, m}, dealer{kafka.RoundRobinGroupBalancer{}, m}},
		ErrorLogger:       kafkaLogger(log),
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", consume.ErrInvalidConfig, err)
	}
	m.group = group

	return m, nil
}

// dealer is a balancer that remembers how many partitions it has dealt out. Only the group's leader
// is asked to deal. What the leader is told of the topics can be too little, and kafka-go takes it as
// it is: then partitions belong to nobody (watchTopics).
type dealer struct {
	kafka.GroupBalancer

	member *membership
}

// AssignGroups implements kafka.GroupBalancer.
func (d dealer) AssignGroups(members []kafka.GroupMember, partitions []kafka.Partition) kafka.GroupMemberAssignments {
	dealt := make(map[string]int)
	for _, p := range partitions {
		dealt[p.Topic]++
	}
	d.member.dealt.Store(&dealt)

	return d.GroupBalancer.AssignGroups(members, partitions)
}

// next returns the next generation once the one before has ended.
func (m *membership) next(ctx context.Context) (*kafka.Generation, error) {
	generation, err := m.group.Next(ctx)
	if err != nil {
		return nil, err //nolint:wrapcheck // The caller judges it.
	}
	m.memberID = generation.MemberID

	return generation, nil
}

// leave begins to leave the group, which ends the generation.
func (m *membership) leave() {
	m.leaving.Do(func() {
		go func() {
			defer close(m.left)
			_ = m.group.Close() // It returns no errors.
		}()
	})
}

// end leaves the group and returns when that is done. The generation must have ended.
func (m *membership) end(ctx context.Context, client *kafka.Client, group string) {
	m.leave()
	if m.awaitLeft() || m.memberID == "" {
		return
	}
	// A member that was rejoining when it was cut off would be missed only after its session.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 4*leaveTimeout)
	defer cancel()
	_, _ = client.LeaveGroup(ctx, &kafka.LeaveGroupRequest{
		GroupID: group, Members: []kafka.LeaveGroupRequestMember{{ID: m.memberID}},
	})
}

// awaitLeft waits for kafka-go to have left the group, and reports whether it could do so
// undisturbed. Else it cuts each connection that is older than leaveTimeout, and more than once:
// kafka-go may connect, and begin to join, after it was told to leave.
func (m *membership) awaitLeft() bool {
	ticker := time.NewTicker(leaveTimeout)
	defer ticker.Stop()
	for undisturbed := true; ; undisturbed = false {
		select {
		case <-m.left:
			return undisturbed
		case now := <-ticker.C:
			m.connections.cut(now.Add(-leaveTimeout))
		}
	}
}

// kafkaLogger passes on what kafka-go complains about.
func kafkaLogger(log *slog.Logger) kafka.LoggerFunc {
	return func(format string, args ...any) {
		log.Warn("kafkaadapter: consumer group", "message", fmt.Sprintf(format, args...))
	}
}

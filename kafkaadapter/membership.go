package kafkaadapter

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

const (
	// joinBackoff is the pause after a failed attempt to join the group.
	joinBackoff = 500 * time.Millisecond

	// partitionWatchInterval is how often the group looks for new partitions.
	partitionWatchInterval = 5 * time.Second

	// topicWatchInterval is how often it looks for new or recreated topics.
	topicWatchInterval = 5 * time.Second

	// leaveTimeout is how long an orderly leave may take before connections are cut: longer
	// only if kafka-go is in the middle of joining, which it does not interrupt.
	leaveTimeout = 500 * time.Millisecond
)

// membership is this process's place in the consumer group.
type membership struct {
	group       *kafka.ConsumerGroup
	connections *connections
	memberID    string // of the latest generation

	leaving sync.Once
	since   time.Time     // when leaving began
	left    chan struct{} // closed when it is done
}

func join(config Config, topics []string, connections *connections) (*membership, error) {
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID:                     config.Group,
		Brokers:                config.Brokers,
		Topics:                 topics,
		Dialer:                 connections.forGroup(config),
		HeartbeatInterval:      config.HeartbeatInterval,
		SessionTimeout:         config.SessionTimeout,
		RebalanceTimeout:       config.RebalanceTimeout,
		JoinGroupBackoff:       joinBackoff,
		StartOffset:            config.StartOffset,
		WatchPartitionChanges:  true,
		PartitionWatchInterval: partitionWatchInterval,
		ErrorLogger:            kafkaLogger(config.Logger),
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidConfig, err)
	}

	return &membership{group: group, connections: connections, left: make(chan struct{})}, nil
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
		m.since = time.Now()
		go func() {
			defer close(m.left)
			_ = m.group.Close() // It returns no errors.
		}()
	})
}

// end leaves the group and returns when that is done. The generation must have ended.
func (m *membership) end(ctx context.Context, client *kafka.Client, group string) {
	m.leave()
	timer := time.NewTimer(leaveTimeout)
	defer timer.Stop()
	select {
	case <-m.left:
		return
	case <-timer.C:
	}

	m.connections.cut(m.since)
	<-m.left
	if m.memberID == "" {
		return
	}
	// A member that was rejoining when it was cut off would be missed only after its session.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	_, _ = client.LeaveGroup(ctx, &kafka.LeaveGroupRequest{
		GroupID: group, Members: []kafka.LeaveGroupRequestMember{{ID: m.memberID}},
	})
}

// kafkaLogger passes on what kafka-go complains about.
func kafkaLogger(log *slog.Logger) kafka.LoggerFunc {
	return func(format string, args ...any) {
		log.Warn("kafkaadapter: consumer group", "message", fmt.Sprintf(format, args...))
	}
}

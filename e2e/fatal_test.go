package e2e_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
)

// What no retry can heal ends Run with an error that says what to do.

func TestRefusedSessionTimeoutIsFatal(t *testing.T) {
	classicOnly(t) // Else the broker sets it.
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		s := setup(t, b, 1)
		err := s.start(t, func(c *settings) {
			c.SessionTimeout, c.HeartbeatInterval = 200*time.Millisecond, 20*time.Millisecond
		}).wait(t)
		if !refusedWith(err, kafka.InvalidSessionTimeout) || !strings.Contains(err.Error(), "Config.SessionTimeout") {
			t.Errorf("Run returned %v", err)
		}
	})
}

func TestForeignAssignorIsFatal(t *testing.T) {
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		s := setup(t, b, 1)
		foreign, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
			ID: s.group, Brokers: b.Addrs, Topics: []string{s.topic}, GroupBalancers: []kafka.GroupBalancer{foreignBalancer{}},
			SessionTimeout: b.MinSessionTimeout, HeartbeatInterval: 50 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer foreign.Close() //nolint:errcheck // It returns none.
		if _, err := foreign.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		refusal := kafka.InconsistentGroupProtocol
		if brokerShares() {
			refusal = kafka.GroupIdNotFound
		}
		if err := s.start(t, nil).wait(t); !refusedWith(err, refusal) || !strings.Contains(err.Error(), "Config.Group") {
			t.Errorf("Run returned %v", err)
		}
	})
}

type foreignBalancer struct{ kafka.RangeGroupBalancer }

func (foreignBalancer) ProtocolName() string { return "foreign" }

func TestMissingTopicIsFatalAfterItsGrace(t *testing.T) {
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		s := setup(t, b, 1)
		err := s.start(t, func(c *settings) {
			c.Topics, c.TopicGrace = []string{broker.Name(t)}, 300*time.Millisecond
		}).wait(t)
		if !errors.Is(err, consume.ErrUnknownTopic) {
			t.Errorf("Run returned %v", err)
		}
	})
}

func TestTopicThatComesLate(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	late := broker.Name(t)
	m := s.start(t, func(c *settings) { c.Topics = []string{s.topic, late} })
	s.create(t, late, 1)
	s.broker.Write(t, late, events(0, 10, 1)...)
	s.awaitEffects(t, 10)
	m.leave(t)
}

func TestDeletedTopicIsFatalAfterItsGrace(t *testing.T) {
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		s := setup(t, b, 1)
		b.Write(t, s.topic, events(0, 10, 1)...)
		m := s.start(t, func(c *settings) { c.TopicGrace = 300 * time.Millisecond })
		s.awaitEffects(t, 10)
		b.DeleteTopic(t, s.topic)
		if err := m.wait(t); !errors.Is(err, consume.ErrUnknownTopic) {
			t.Errorf("Run returned %v", err)
		}
	})
}

func TestOffsetBeyondTheLogIsFatal(t *testing.T) {
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		s := setup(t, b, 1)
		b.Write(t, s.topic, events(0, 10, 1)...)
		response, err := b.Client.OffsetCommit(t.Context(), &kafka.OffsetCommitRequest{
			GroupID: s.group, GenerationID: -1, Topics: map[string][]kafka.OffsetCommit{s.topic: {{Offset: 1000}}},
		})
		if err != nil || response.Topics[s.topic][0].Error != nil {
			t.Fatal(err, response)
		}
		if err := s.start(t, nil).wait(t); !errors.Is(err, consume.ErrOffsetOutOfRange) {
			t.Errorf("Run returned %v", err)
		}
		if got := s.committed(t); got != 1000 {
			t.Errorf("the group's offset became %d", got)
		}
	})
}

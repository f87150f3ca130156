package e2e_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
)

// PostgreSQL is out of reach for a while: no record is lost, the members stay in the group, and the
// outage is no attempt of the handler's.
func TestLongPostgresOutage(t *testing.T) {
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		outage := 20 * time.Second
		if testing.Short() {
			outage = 3 * time.Second
		}
		s, through, proxy := setupVia(t, b, 4)
		const n = 4_000
		b.Write(t, s.topic, events(0, n, 4)...)
		var assigned atomic.Int64
		m := through.start(t, func(c *settings) {
			c.Failure.Retry.MaxAttempts = 1
			c.Hooks.Assignment.Begin = func(ctx context.Context, _ consume.AssignmentBegin) context.Context {
				assigned.Add(1)

				return ctx
			}
		})
		s.awaitEffects(t, n/4)
		proxy.Refuse()
		letPass(outage)
		before, _, err := s.effects(t.Context())
		if err != nil || before == n {
			t.Fatalf("%d of %d events took effect before the outage was over, %v", before, n, err)
		}
		proxy.Resume()
		resumed := time.Now()
		s.awaitEffects(t, before+1)
		t.Logf("after %v it went on within %v", outage, time.Since(resumed))
		s.awaitCommitted(t, n)
		m.leave(t)
		s.verify(t, n)
		if got := s.letters(t); len(got) != 0 {
			t.Errorf("letters %q", got)
		}
		if assigned.Load() != 4 {
			t.Errorf("4 partitions were assigned %d times, want once each", assigned.Load())
		}
	})
}

// Partitions that are added to a topic are consumed.
func TestAddedPartitions(t *testing.T) {
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		s := setup(t, b, 1)
		m := s.start(t, nil)
		b.Write(t, s.topic, events(0, 10, 1)...)
		s.awaitEffects(t, 10)
		response, err := b.Client.CreatePartitions(t.Context(), &kafka.CreatePartitionsRequest{
			Topics: []kafka.TopicPartitionsConfig{{Name: s.topic, Count: 3}},
		})
		if err == nil {
			err = response.Errors[s.topic]
		}
		if err != nil {
			t.Fatal(err)
		}
		b.Produce(t, s.topic, events(10, 30, 3)) // It learns of new partitions.
		s.awaitEffects(t, 40)
		m.leave(t)
		s.verify(t, 40)
	})
}

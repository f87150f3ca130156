package e2e_test

import (
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nova-events/idempotent-consumer/e2e/broker"
)

// Brokers are killed while their records are consumed. The consumers recover by themselves.

func TestKilledPartitionLeader(t *testing.T) {
	t.Parallel()
	broker.EachFaulty(t, 3, func(t *testing.T, c *broker.Faulty) {
		testKilledBroker(t, c, func(s *bench) int {
			coordinator := c.Coordinator(t, s.group)
			for partition := range faultPartitions {
				if leader := c.Leader(t, s.topic, partition); leader != coordinator {
					return leader
				}
			}
			t.Skip("one broker leads and coordinates everything") // The in-process one deals at random.

			return 0
		})
	})
}

func TestKilledGroupCoordinator(t *testing.T) {
	t.Parallel()
	broker.EachFaulty(t, 3, func(t *testing.T, c *broker.Faulty) {
		testKilledBroker(t, c, func(s *bench) int { return c.Coordinator(t, s.group) })
	})
}

const faultPartitions = 6

// inBatches makes a producer write small batches, and oneByOne a member fetch them one by one.
// Else it would have fetched all there is before the fault comes.
var inBatches = kgo.MaxBufferedRecords(100)

func oneByOne(c *settings) { c.MaxBytes = 1 }

// testKilledBroker has members consume while a broker is there, dead, and back again.
func testKilledBroker(t *testing.T, c *broker.Faulty, choose func(s *bench) int) {
	t.Helper()
	const n = 3_000
	s := setup(t, c.Broker, faultPartitions)
	c.Produce(t, s.topic, events(0, n, faultPartitions), inBatches)
	defer s.watch(t)()
	members := []*member{s.start(t, oneByOne), s.start(t, oneByOne)}
	s.awaitEffects(t, n/3)

	victim := choose(s)
	c.Kill(t, victim)
	s.awaitEffects(t, n)
	for partition := range faultPartitions {
		until(t, "another leader", func() bool { return c.Leader(t, s.topic, partition) != victim })
	}
	until(t, "another coordinator", func() bool { return c.Coordinator(t, s.group) != victim })
	c.Produce(t, s.topic, events(n, n, faultPartitions))
	s.awaitCommitted(t, 2*n)

	c.Recover(t, victim)
	c.Produce(t, s.topic, events(2*n, n, faultPartitions))
	s.awaitCommitted(t, 3*n)
	for _, m := range members {
		m.leave(t)
	}
	s.verify(t, 3*n)
}

func TestRestartedBroker(t *testing.T) {
	t.Parallel()
	broker.EachFaulty(t, 1, func(t *testing.T, c *broker.Faulty) {
		const n, partitions = 3_000, 4
		s := setup(t, c.Broker, partitions)
		c.Produce(t, s.topic, events(0, n, partitions), inBatches)
		defer s.watch(t)()
		m := s.start(t, oneByOne)
		only := c.Leader(t, s.topic, 0)
		s.awaitEffects(t, n/3)
		c.Restart(t, only)
		s.awaitEffects(t, n*2/3)
		c.Kill(t, only)
		c.Recover(t, only)
		c.Produce(t, s.topic, events(n, n, partitions))
		s.awaitCommitted(t, 2*n)
		m.leave(t)
		s.verify(t, 2*n)
	})
}

// watch has the group's offsets watched until the returned function is called.
func (s *bench) watch(t *testing.T) (stop func()) {
	t.Helper()
	stopped := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() { s.watchOffsets(t, stopped) })

	return func() {
		close(stopped)
		watcher.Wait()
	}
}

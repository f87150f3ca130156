package e2e_test

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
)

// A member joins while the handler of one partition is slow. With a cooperative group those partitions
// that stay with their member go on meanwhile; the longest time in which nothing of one of them took
// effect is printed. An eager group stops them all until the slow handler is done.
func TestJoiningMemberInterruptsNoPartitionThatStays(t *testing.T) {
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		const partitions, every = 8, 2 * time.Millisecond
		s := setup(t, b, partitions)
		producer := s.keepProducing(t, partitions, every)
		var first, second pulse
		one := s.start(t, first.watch)
		s.awaitMembers(t, 1)
		until(t, "all partitions to be consumed", func() bool { return len(first.partitions()) == partitions })
		first.reset()
		two := s.start(t, second.watch)
		s.awaitMembers(t, 2)
		until(t, "the other member to have its share", func() bool { return len(second.partitions()) == partitions/2 })
		longest := first.longest(second.partitions())
		producer()
		one.leave(t)
		two.leave(t)
		t.Logf("%s: the longest standstill of a partition that stays: %v", os.Getenv(envAdapter), longest)
		if os.Getenv(envAdapter) == "franz" && longest > generous {
			t.Errorf("a partition that stays stood still for %v", longest)
		}
	})
}

// A record of the slow partition takes this long.
const (
	slowPartition = 0
	slow          = time.Second
)

// generous is what a busy machine may add to the 100 ms that are the goal.
const generous = 600 * time.Millisecond

// keepProducing produces to all partitions until it is told to stop.
func (s *bench) keepProducing(t *testing.T, partitions int, every time.Duration) (stop func()) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.broker.Addrs...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			for _, m := range events(n*partitions, partitions, partitions) {
				record := &kgo.Record{Topic: s.topic, Partition: int32(m.Partition), Key: m.Key, Value: m.Value}
				for _, h := range m.Headers {
					record.Headers = append(record.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
				}
				client.Produce(ctx, record, nil)
			}
		}
	})
	stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		client.Close()
	})
	t.Cleanup(stop)

	return stop
}

// pulse measures in which times nothing of a partition takes effect.
type pulse struct {
	mu   sync.Mutex
	last map[int32]time.Time
	gaps map[int32]time.Duration
}

func (p *pulse) watch(c *settings) {
	p.reset()
	c.SessionTimeout, c.DrainTimeout, c.OwnTransactions = 10*time.Second, 3*time.Second, true
	c.Handle = func(ctx context.Context, _ pgx.Tx, m consume.Message) error {
		if m.Partition == slowPartition {
			backoff.Sleep(ctx, slow)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		now := time.Now()
		if last, ok := p.last[m.Partition]; ok {
			p.gaps[m.Partition] = max(p.gaps[m.Partition], now.Sub(last))
		}
		p.last[m.Partition] = now

		return nil
	}
}

func (p *pulse) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	before := p.last
	p.last, p.gaps = make(map[int32]time.Time), make(map[int32]time.Duration)
	for partition := range before {
		p.last[partition] = now
	}
}

// partitions are those of which something has taken effect.
func (p *pulse) partitions() map[int32]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := make(map[int32]bool)
	for partition := range p.last {
		seen[partition] = true
	}

	return seen
}

// longest is the longest time of a partition that is not among those that went.
func (p *pulse) longest(went map[int32]bool) (longest time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for partition, gap := range p.gaps {
		if !went[partition] && partition != slowPartition {
			longest = max(longest, gap)
		}
	}

	return longest
}

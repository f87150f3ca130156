package e2e_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

type position struct {
	partition int
	offset    int64
}

// progress is how far a group has come, whoever of its members.
type progress struct {
	mu      sync.Mutex
	next    []int64     // by partition
	last    []time.Time // when it changed; zero before the first record
	longest time.Duration
	theirs  map[position]bool // the records that other clients have consumed
}

func newProgress(partitions int) *progress {
	return &progress{next: make([]int64, partitions), last: make([]time.Time, partitions), theirs: map[position]bool{}}
}

// byThem notes a record that another client has consumed.
func (p *progress) byThem(partition int, offset int64) {
	p.mu.Lock()
	p.theirs[position{partition, offset}] = true
	p.mu.Unlock()
	p.advance(partition, offset)
}

// advance notes that a partition has come to a record.
func (p *progress) advance(partition int, offset int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if offset < p.next[partition] {
		return
	}
	now := time.Now()
	if p.next[partition] > 0 {
		p.longest = max(p.longest, now.Sub(p.last[partition]))
	}
	p.next[partition], p.last[partition] = offset+1, now
}

// reached tells whether all partitions have come to those offsets.
func (p *progress) reached(next []int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for partition := range next {
		if p.next[partition] < next[partition] {
			return false
		}
	}

	return true
}

// standstill returns the partition that has made no progress for longest, of those that had begun.
func (p *progress) standstill() (partition int, since time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, last := range p.last {
		if passed := time.Since(last); p.next[i] > 0 && passed > since {
			partition, since = i, passed
		}
	}

	return partition, since
}

// production is a stream of records into all partitions.
type production struct {
	mu      sync.Mutex
	written []int64 // by partition

	stop context.CancelFunc
	done chan struct{}
}

// produce starts a stream into all partitions.
func (s *sharedGroup) produce(t *testing.T, partitions int) *production {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.broker.Addrs...), kgo.DefaultProduceTopic(s.topic), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MetadataMinAge(100*time.Millisecond)) // A new topic has no leaders yet.
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	p := &production{written: make([]int64, partitions), stop: stop, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		defer client.Close()
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for first := 0; ; first += partitions {
			var records []*kgo.Record
			for _, m := range events(first, partitions, partitions) {
				records = append(records, &kgo.Record{
					Partition: int32(m.Partition), Key: m.Key, Value: m.Value,
					Headers: []kgo.RecordHeader{{Key: m.Headers[0].Key, Value: m.Headers[0].Value}},
				})
			}
			if err := client.ProduceSync(context.WithoutCancel(ctx), records...).FirstErr(); err != nil {
				t.Error(err)

				return
			}
			p.mu.Lock()
			for i := range p.written {
				p.written[i]++
			}
			p.mu.Unlock()
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(func() { p.end() })

	return p
}

// counts are how many records have been written to each partition.
func (p *production) counts() []int64 {
	p.mu.Lock()
	defer p.mu.Unlock()

	return slices.Clone(p.written)
}

// end ends the stream.
func (p *production) end() []int64 {
	p.stop()
	<-p.done

	return p.counts()
}

package console

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/nova-events/idempotent-consumer/ops"
)

const (
	// smoothing is over how many polls a rate is taken, and history how many rates are drawn.
	smoothing = 5
	history   = 60
)

// snapshot is what the tables, and Kafka, say at a time. It is not changed once it is made.
type snapshot struct {
	At         time.Time
	Err        error  // of PostgreSQL; the rest is empty then
	KafkaError string // why lag is not known
	Consumers  []consumerNow
	Partitions []partitionNow
	Outbox     ops.OutboxStatus
	Undecided  int64 // leases that wait for a decision
}

// Total adds the consumers up.
func (s *snapshot) Total() (total consumerNow) {
	for _, one := range s.Consumers {
		total.Partitions += one.Partitions
		total.Rate, total.Lag = sum(total.Rate, one.Rate), sum(total.Lag, one.Lag)
		total.Open, total.Unresolved = total.Open+one.Open, total.Unresolved+one.Unresolved
	}

	return total
}

// consumerNow is a consumer with what moves. Its position is that of its checkpoints.
type consumerNow struct {
	ops.Consumer

	Partitions       int
	Rate             *float64 // records a second; nil: not known yet, or there are no checkpoints
	Rates            []float64
	Lag              *int64 // nil: not known
	Open, Unresolved int64
}

type partitionNow struct {
	ops.Checkpoint

	Paused bool // the consumer is
	Rate   *float64
	Lag    *int64
}

// State says in words what the partition does.
func (p partitionNow) State() string {
	switch {
	case p.Paused:
		return "paused"
	case p.Rate != nil && *p.Rate > 0:
		return "moving"
	case p.Lag != nil && *p.Lag == 0:
		return "at the end"
	case p.Epoch == 0:
		return "not owned yet"
	case p.Rate != nil && p.Lag != nil:
		return "standing still"
	case p.Rate != nil:
		return "idle"
	default:
		return ""
	}
}

type place struct {
	consumer, topic string
	partition       int32
}

// sample is where the checkpoints stood at a time.
type sample struct {
	at      time.Time
	offsets map[place]int64
}

// poller remembers what rates are made of.
type poller struct {
	*live

	samples []sample // the latest last
	rates   map[string][]float64

	lags    map[place]int64
	asked   time.Time // Kafka, for them
	problem string    // of the last time
}

// age is since when it has read nothing.
func (p *poller) age() time.Duration {
	if len(p.samples) == 0 {
		return 0
	}

	return time.Since(p.samples[len(p.samples)-1].at)
}

// read reads the next snapshot.
func (p *poller) read(ctx context.Context) *snapshot {
	s := &snapshot{At: time.Now().UTC()}
	var (
		consumers   []ops.Consumer
		checkpoints []ops.Checkpoint
		letters     []ops.DeadLetterCount
	)
	if consumers, s.Err = p.client.Consumers(ctx); s.Err == nil {
		checkpoints, s.Err = p.client.Checkpoints(ctx, "", "")
	}
	if s.Err == nil {
		letters, s.Err = p.client.DeadLetterCounts(ctx)
	}
	if s.Err == nil {
		s.Outbox, s.Err = p.client.OutboxStatus(ctx)
	}
	if s.Err == nil {
		s.Undecided, s.Err = p.client.UndecidedLeases(ctx)
	}
	if s.Err != nil {
		return s
	}
	p.askKafka(ctx, checkpoints)
	s.KafkaError = p.problem
	of := map[string]*consumerNow{}
	s.Consumers = make([]consumerNow, len(consumers))
	for i, one := range consumers {
		s.Consumers[i].Consumer = one
		of[one.Name] = &s.Consumers[i]
	}
	for _, count := range letters {
		if one, ok := of[count.Consumer]; ok {
			one.Open, one.Unresolved = count.Open, count.Unresolved
		}
	}
	s.Partitions = p.partitions(s.At, checkpoints)
	for i := range s.Partitions {
		if consumer, ok := of[s.Partitions[i].Consumer]; ok {
			s.Partitions[i].Paused = consumer.Pause != nil
			consumer.add(s.Partitions[i])
		}
	}
	p.remember(s.Consumers)

	return s
}

// add counts a partition of the consumer.
func (c *consumerNow) add(p partitionNow) {
	c.Partitions++
	c.Rate = sum(c.Rate, p.Rate)
	c.Lag = sum(c.Lag, p.Lag)
}

// sum adds what is known.
func sum[N int64 | float64](a, b *N) *N {
	if a == nil {
		return b
	}
	if b == nil {
		return a
	}
	total := *a + *b

	return &total
}

// partitions adds to checkpoints what moves.
func (p *poller) partitions(at time.Time, checkpoints []ops.Checkpoint) []partitionNow {
	latest := sample{at: at, offsets: make(map[place]int64, len(checkpoints))}
	list := make([]partitionNow, len(checkpoints))
	for i, checkpoint := range checkpoints {
		where := place{checkpoint.Consumer, checkpoint.Topic, checkpoint.Partition}
		latest.offsets[where] = checkpoint.NextOffset
		list[i] = partitionNow{Checkpoint: checkpoint, Rate: p.rate(where, checkpoint.NextOffset, at)}
		if lag, ok := p.lags[where]; ok {
			list[i].Lag = &lag
		}
	}
	p.samples = append(p.samples, latest)
	p.samples = p.samples[max(0, len(p.samples)-smoothing):]

	return list
}

// rate is that since the oldest sample. A checkpoint that was set back has none.
func (p *poller) rate(where place, offset int64, at time.Time) *float64 {
	for _, before := range p.samples {
		if start, ok := before.offsets[where]; ok {
			rate := max(0, float64(offset-start)/at.Sub(before.at).Seconds())

			return &rate
		}
	}

	return nil
}

// remember adds the consumers' rates to those before.
func (p *poller) remember(consumers []consumerNow) {
	rates := make(map[string][]float64, len(consumers))
	for i := range consumers {
		one := &consumers[i]
		all := p.rates[one.Name]
		if one.Rate != nil {
			all = append(slices.Clip(all), *one.Rate) // Those before are in snapshots.
			all = all[max(0, len(all)-history):]
		}
		one.Rates, rates[one.Name] = all, all
	}
	p.rates = rates
}

// askKafka asks for the ends of the logs, now and then. In between, lag is as of then: checkpoints go on and ends would
// not.
func (p *poller) askKafka(ctx context.Context, checkpoints []ops.Checkpoint) {
	if p.kafka == nil || time.Since(p.asked) < kafkaInterval {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, kafkaTimeout)
	defer cancel()
	topics := map[string]struct{}{}
	for _, checkpoint := range checkpoints {
		topics[checkpoint.Topic] = struct{}{}
	}
	facts, err := p.kafka(ctx, nil, slices.Sorted(maps.Keys(topics)))
	p.asked, p.lags, p.problem = time.Now(), map[place]int64{}, ""
	if err != nil {
		p.problem = err.Error()
	}
	for _, checkpoint := range checkpoints {
		partition, ok := facts.Topics[checkpoint.Topic].Partitions[checkpoint.Partition]
		if ok && partition.Err == nil {
			p.lags[place{checkpoint.Consumer, checkpoint.Topic, checkpoint.Partition}] = max(0, partition.End-checkpoint.NextOffset)
		}
	}
}

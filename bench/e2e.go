package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/consume"
)

const (
	handwrittenName = "handwritten"
	readersName     = "handwritten_readers"
	handBatchName   = "handwritten_batch"
	atLeastOnceName = "at_least_once"
	handleName      = "handle"
	queueName       = "queue"

	// patience is how long a consumer may take to get its first records.
	patience = 60 * time.Second
)

// feed is what a consumer of the end-to-end part works on.
type feed struct {
	pool       *pgxpool.Pool
	brokers    []string
	topic      string
	group      string
	partitions int
	batch      int

	// done counts the events that have taken effect: by partition, to see that all have begun.
	done []atomic.Int64

	processed chan time.Time // gets the end of each transaction, if there is somebody who waits for that
}

// did notes that a transaction was committed, with so many events of a partition.
func (f *feed) did(partition int32, events int64) {
	f.done[partition].Add(events)
	if f.processed != nil {
		f.processed <- time.Now()
	}
}

func (f *feed) total() (n int64) {
	for i := range f.done {
		n += f.done[i].Load()
	}

	return n
}

func (f *feed) begun() bool {
	for i := range f.done {
		if f.done[i].Load() == 0 {
			return false
		}
	}

	return true
}

// consumer processes the topic until ctx ends, and then returns nil.
type consumer struct {
	name    string
	workers int
	batch   int
	consume func(ctx context.Context, f *feed) error
	// everywhere makes the measurement wait until all partitions are consumed. A single reader
	// fetches one after the other.
	everywhere bool
}

func consumers(s settings) []consumer {
	all := []consumer{
		{name: handwrittenName, workers: 1, batch: 1, consume: oneReader},
		{name: readersName, workers: s.Partitions, batch: 1, consume: aReaderEach, everywhere: true},
		{name: watermillName, workers: s.Partitions, batch: 1, consume: consumeByWatermill, everywhere: true},
		{name: handleName, workers: s.Partitions, batch: 1, consume: consumeSingly, everywhere: true},
		{name: queueName, workers: s.Partitions, batch: s.Batch, consume: consumeQueued, everywhere: true},
		{name: handBatchName, workers: s.Partitions, batch: s.Batch, consume: batchesByHand, everywhere: true},
		{name: batchName, workers: s.Partitions, batch: s.Batch, consume: consumeBatches, everywhere: true},
		{name: metricsName, workers: s.Partitions, batch: s.Batch, consume: consumeWithMetrics, everywhere: true},
		{name: tracesName, workers: s.Partitions, batch: s.Batch, consume: consumeWithTraces, everywhere: true},
		{name: atLeastOnceName, workers: s.Partitions, batch: s.Batch, consume: consumeAtLeastOnce, everywhere: true},
		{name: checkpointName, workers: s.Partitions, batch: s.Batch, consume: consumeByOffsets, everywhere: true},
	}
	if s.Mode == quickMode {
		all = slices.DeleteFunc(all, func(c consumer) bool {
			return c.name == readersName || c.name == watermillName || c.name == checkpointName || c.name == metricsName || c.name == tracesName
		})
	}

	return all
}

// endToEnd measures consumers of Kafka in interleaved rounds, each with a group of its own that
// begins with the topic's first record.
func (b *bench) endToEnd(ctx context.Context) error {
	s := b.settings
	if s.Broker == noBroker {
		return nil
	}
	topic, err := b.newTopic(ctx, s.Records)
	if err != nil {
		return err
	}
	all := consumers(s)
	for round := range s.Rounds {
		for _, c := range inTurn(all, round) {
			id := "e2e/" + c.name
			stop, err := b.startProfile(id)
			if err != nil {
				return err
			}
			result, err := b.consume(ctx, c, topic, fmt.Sprintf("%s-%s-%d", topic, c.name, round))
			stop()
			if err != nil {
				return fmt.Errorf("%s: %w", id, err)
			}
			b.sayf("round %d/%d  %-45s %9.0f %s", round+1, s.Rounds, id, result.rate, eventsPerSecond)
			b.report.record(measurement{
				ID: id, Section: sectionE2E, Subject: c.name, Workers: c.workers, Batch: c.batch, Load: baseLoad,
				Broker: b.servers.broker, Unit: eventsPerSecond,
			}, result)
		}
	}

	return nil
}

// startBroker starts the broker, unless it runs already.
func (b *bench) startBroker(ctx context.Context) error {
	if b.servers.brokers != nil {
		return nil
	}
	err := b.servers.startBroker(ctx, b.settings, b.messages)
	b.report.Versions["broker"] = strings.TrimSpace(b.servers.broker + " " + b.servers.version)

	return err
}

// newTopic makes a topic with that many records.
func (b *bench) newTopic(ctx context.Context, records int) (topic string, err error) {
	if err := b.startBroker(ctx); err != nil {
		return "", err
	}
	topic = "bench-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	b.sayf("producing %d records", records)

	return topic, b.servers.fill(ctx, topic, b.settings, records)
}

// consume measures one consumer in one round.
func (b *bench) consume(ctx context.Context, c consumer, topic, group string) (sample, error) {
	s, d := b.settings, b.database
	if err := d.reset(ctx); err != nil {
		return sample{}, err
	}
	pool, err := d.pool(ctx, s.Partitions+2, nil)
	if err != nil {
		return sample{}, err
	}
	defer pool.Close()
	f := &feed{
		pool: pool, brokers: b.servers.brokers, topic: topic, group: group, partitions: s.Partitions, batch: s.Batch,
		done: make([]atomic.Int64, s.Partitions),
	}
	runtime.GC()
	consuming, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- c.consume(consuming, f) }()

	result, err := b.watch(ctx, c, f, ended)
	stop()
	if !errors.Is(err, errEnded) {
		err = errors.Join(err, <-ended)
	}
	if err != nil {
		return sample{}, err
	}

	return result, b.audit(ctx, f)
}

var errEnded = errors.New("the consumer ended")

// watch measures what a consumer does after its first records.
func (b *bench) watch(ctx context.Context, c consumer, f *feed, ended <-chan error) (sample, error) {
	s := b.settings
	wait := func(limit time.Duration, until func() bool) error {
		poll := time.NewTicker(2 * time.Millisecond)
		defer poll.Stop()
		timeout := time.NewTimer(limit)
		defer timeout.Stop()
		for !until() {
			select {
			case <-poll.C:
			case <-timeout.C:
				return nil
			case err := <-ended:
				return errors.Join(errEnded, err)
			case <-ctx.Done():
				return ctx.Err()
			}
		}

		return nil
	}
	started := func() bool { return f.total() > 0 && (!c.everywhere || f.begun()) }
	all := func() bool { return f.total() >= int64(s.Records) }
	if err := wait(patience, started); err != nil {
		return sample{}, err
	}
	if !started() {
		return sample{}, fmt.Errorf("after %v it has not begun with all partitions", patience)
	}
	warmup := seconds(s.Warmup)
	if err := wait(warmup, all); err != nil {
		return sample{}, err
	}
	before, err := b.database.usage(ctx)
	if err != nil {
		return sample{}, err
	}
	first := f.total()
	if err := wait(seconds(s.E2ESeconds), all); err != nil {
		return sample{}, err
	}
	last := f.total()
	after, err := b.database.usage(ctx)
	if err != nil {
		return sample{}, err
	}
	if last == first {
		return sample{}, fmt.Errorf("nothing was consumed, or all of the %d records before the measurement began: give more -records", s.Records)
	}

	return sample{rate: float64(last-first) / after.at.Sub(before.at).Seconds(), cost: after.since(before, last-first), others: after.othersSince(before)}, nil
}

// audit checks that each event has taken effect once.
func (b *bench) audit(ctx context.Context, f *feed) error {
	lines, err := b.database.number(ctx, "SELECT count(*)::float8 FROM bench.ledger")
	if err != nil {
		return err
	}
	distinct, err := b.database.number(ctx, "SELECT count(DISTINCT event_id)::float8 FROM bench.ledger")
	if err != nil {
		return err
	}
	if lines != distinct || int64(lines) < f.total() {
		return fmt.Errorf("the ledger has %.0f lines of %.0f events, and %d were said to be processed", lines, distinct, f.total())
	}

	return nil
}

// decode reads an event from a message of kafka-go.
func decode(m kafka.Message) (event, error) {
	id := ""
	for _, header := range m.Headers {
		if header.Key == eventIDHeader {
			id = string(header.Value)
		}
	}

	return parse(int32(m.Partition), id, m.Value) //nolint:gosec // There are few.
}

// decodeRecord reads an event from a record of the library.
func decodeRecord(r consume.Record) (event, error) {
	return parse(r.Partition, consume.HeaderCarrier(r.Headers).Get(eventIDHeader), r.Value)
}

// parse reads an event from a record's partition, event id and value.
func parse(partition int32, eventID string, value []byte) (event, error) {
	e := event{ID: eventID, Partition: partition}
	account, rest, _ := strings.Cut(string(value), " ")
	amount, _, _ := strings.Cut(rest, " ")
	n, err := strconv.ParseInt(account, 10, 32)
	if err == nil {
		e.Amount, err = strconv.ParseInt(amount, 10, 64)
	}
	if err != nil {
		return e, fmt.Errorf("decode a record: %w", err)
	}
	e.Account = int32(n)

	return e, nil
}

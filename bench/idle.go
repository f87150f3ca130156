package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"
)

const (
	idleName    = "idle"
	idleRecords = 500
	idlePause   = 10 * time.Millisecond
)

// idle measures, on a topic where nothing else happens, how long a record takes from the call that
// produces it to the end of the COMMIT with which it takes effect; and how long that call takes, which
// is the part that no consumer can change. The consumer that delivers at least once shows what of it is the
// machine's.
func (b *bench) idle(ctx context.Context) error {
	if b.settings.Broker == noBroker {
		return nil
	}
	if err := b.startBroker(ctx); err != nil {
		return err
	}
	consumers := []struct {
		name    string
		consume func(context.Context, *feed) error
	}{{idleName, consumeSingly}, {idleName + "_" + atLeastOnceName, consumeAtLeastOnce}}
	for round := range b.settings.LoadRounds {
		for _, c := range inTurn(consumers, round) {
			produced, committed, err := b.idleOnce(ctx, "bench-idle-"+strconv.FormatInt(time.Now().UnixNano(), 36), c.consume)
			if err != nil {
				return err
			}
			b.sayf("round %d/%d  %-18s a record alone is committed after %.1f ms (p50), %.1f ms (p99); the broker has it after %.1f and %.1f ms",
				round+1, b.settings.LoadRounds, c.name, committed.P50, committed.P99, produced.P50, produced.P99)
			m := measurement{Section: sectionE2E, Subject: c.name, Workers: 1, Batch: 1, Load: baseLoad, Broker: b.servers.broker, Unit: "ms"}
			for _, figure := range []struct {
				name  string
				value float64
			}{{"produced_p50", produced.P50}, {"produced_p99", produced.P99}, {"committed_p50", committed.P50}, {"committed_p99", committed.P99}} {
				m.ID = "e2e/" + c.name + "/" + figure.name
				b.report.record(m, sample{rate: figure.value})
			}
		}
	}

	return nil
}

func (b *bench) idleOnce(ctx context.Context, topic string, consume func(context.Context, *feed) error) (produced, committed latency, err error) {
	if err := b.servers.createTopic(ctx, topic, 1); err != nil {
		return produced, committed, err
	}
	if err := b.database.reset(ctx); err != nil {
		return produced, committed, err
	}
	pool, err := b.database.pool(ctx, 3, nil)
	if err != nil {
		return produced, committed, err
	}
	defer pool.Close()
	client, err := b.servers.producer(topic, 0)
	if err != nil {
		return produced, committed, err
	}
	defer client.Close()
	f := &feed{
		pool: pool, brokers: b.servers.brokers, topic: topic, group: topic, partitions: 1, batch: b.settings.Batch,
		done: make([]atomic.Int64, 1), processed: make(chan time.Time, 1),
	}
	consuming, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- consume(consuming, f) }()
	defer func() {
		stop()
		if !errors.Is(err, errEnded) {
			err = errors.Join(err, <-ended)
		}
	}()

	var toBroker, toCommit taken
	events, next := newStream(baseLoad, 0, 1, b.settings.Accounts), make([]event, 1)
	for i := range idleRecords {
		time.Sleep(idlePause) //nolint:forbidigo // The consumer is to be idle.
		events.fill(next)
		began := time.Now()
		if err := client.ProduceSync(ctx, record(next[0], 0)).FirstErr(); err != nil {
			return produced, committed, fmt.Errorf("produce: %w", err)
		}
		acknowledged := time.Since(began)
		var at time.Time
		select {
		case at = <-f.processed:
		case err := <-ended:
			return produced, committed, errors.Join(errEnded, err, ctx.Err())
		case <-time.After(patience):
			return produced, committed, fmt.Errorf("a record was not processed within %v", patience)
		}
		if i >= idleRecords/10 { // The first ones warm up.
			toBroker.steps, toCommit.steps = append(toBroker.steps, acknowledged), append(toCommit.steps, at.Sub(began))
		}
	}

	return toBroker.latency(), toCommit.latency(), nil
}

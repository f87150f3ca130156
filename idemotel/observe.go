package idemotel

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/health"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/lease"
	"github.com/nova-events/idempotent-consumer/outbox"
)

// gauges are made of a consumer's Health whenever metrics are collected.
type gauges struct {
	member, partition, lag metric.Int64ObservableGauge
	age                    metric.Float64ObservableGauge
}

// Observe reports what a consumer's Health says, whenever metrics are collected, until Unregister is called.
func (t *Telemetry) Observe(consumer health.Source) (metric.Registration, error) {
	g, failed := gauges{}, [4]error{}
	g.member, failed[0] = t.meter.Int64ObservableGauge("idem.member.state",
		metric.WithDescription("1 for the state that the consumer is in, 0 for the others."))
	g.partition, failed[1] = t.meter.Int64ObservableGauge("idem.partition.state",
		metric.WithDescription("1 for the state that the partition is in, 0 for the others."))
	g.lag, failed[2] = t.meter.Int64ObservableGauge("idem.lag", metric.WithUnit("{record}"),
		metric.WithDescription("Records of the partition that are not processed yet."))
	g.age, failed[3] = t.meter.Float64ObservableGauge("idem.checkpoint.age", metric.WithUnit("s"),
		metric.WithDescription("Time since the partition's last COMMIT. 0 while it is idle."))
	for _, err := range failed {
		if err != nil {
			return nil, fmt.Errorf("idemotel: %w", err)
		}
	}
	registration, err := t.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		g.observe(o, consumer.Health())

		return nil
	}, g.member, g.partition, g.lag, g.age)
	if err != nil {
		return nil, fmt.Errorf("idemotel: %w", err)
	}

	return registration, nil
}

// scrape is how long a collection of metrics may wait for PostgreSQL.
const scrape = time.Second

// ObserveDeadLetters reports how many unresolved dead letters the guard's consumer has. Each collection of metrics asks
// PostgreSQL, for a second at most; without an answer nothing is reported. All instances of a service report the same number.
func (t *Telemetry) ObserveDeadLetters(guard *idem.Guard) (metric.Registration, error) {
	open, err := t.meter.Int64ObservableGauge("idem.dead_letters.open", metric.WithUnit("{dead_letter}"),
		metric.WithDescription("Unresolved dead letters of the consumer, 10000 at most."))
	if err != nil {
		return nil, fmt.Errorf("idemotel: %w", err)
	}
	consumer := t.with(series{consumer: guard.Consumer()}).observe

	return t.ask(func(ctx context.Context, o metric.Observer) error {
		n, err := guard.UnresolvedDeadLetters(ctx)
		if err == nil {
			o.ObserveInt64(open, n, consumer...)
		}

		return err
	}, open)
}

// ObserveOutbox reports what the outbox holds, with any relay of it, running or not. Each collection of metrics asks PostgreSQL, as
// ObserveDeadLetters does, and all instances of a service report the same.
func (t *Telemetry) ObserveOutbox(relay *outbox.Relay) (metric.Registration, error) {
	backlog, err := t.meter.Int64ObservableGauge("idem.outbox.backlog", metric.WithUnit("{record}"),
		metric.WithDescription("Records in the outbox that wait for a relay (10000 at most), that Kafka refuses, or that are parked behind those."))
	if err != nil {
		return nil, fmt.Errorf("idemotel: %w", err)
	}
	lag, err := t.meter.Float64ObservableGauge("idem.outbox.lag", metric.WithUnit("s"),
		metric.WithDescription("Time since the first record that waits for a relay was published. 0 without any."))
	if err != nil {
		return nil, fmt.Errorf("idemotel: %w", err)
	}

	return t.ask(func(ctx context.Context, o metric.Observer) error {
		b, err := relay.Backlog(ctx)
		if err != nil {
			return err
		}
		o.ObserveFloat64(lag, b.Oldest.Seconds(), t.with(series{}).observe...)
		for state, n := range map[string]int64{waits: b.Waiting, failed: b.Failed, parked: b.Parked} {
			o.ObserveInt64(backlog, n, t.with(series{name: stateKey, value: state}).observe...)
		}

		return nil
	}, backlog, lag)
}

// ObserveLeases reports how many events of the leases' consumer wait for an operator. Each collection of metrics asks PostgreSQL, as
// ObserveDeadLetters does, and all instances of a service report the same.
func (t *Telemetry) ObserveLeases(leases *lease.Leases) (metric.Registration, error) {
	waiting, err := t.meter.Int64ObservableGauge("idem.leases.undecided", metric.WithUnit("{event}"),
		metric.WithDescription("Events of the consumer whose effect may have happened or not, and that wait for an operator."))
	if err != nil {
		return nil, fmt.Errorf("idemotel: %w", err)
	}
	consumer := t.with(series{consumer: leases.Consumer()}).observe

	return t.ask(func(ctx context.Context, o metric.Observer) error {
		n, err := leases.Undecided(ctx)
		if err == nil {
			o.ObserveInt64(waiting, n, consumer...)
		}

		return err
	}, waiting)
}

// ask asks PostgreSQL whenever metrics are collected.
func (t *Telemetry) ask(observe metric.Callback, instruments ...metric.Observable) (metric.Registration, error) {
	registration, err := t.meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		ctx, cancel := context.WithTimeout(ctx, scrape)
		defer cancel()

		return observe(ctx, o)
	}, instruments...)
	if err != nil {
		return nil, fmt.Errorf("idemotel: %w", err)
	}

	return registration, nil
}

func (g gauges) observe(o metric.Observer, h consume.Health) {
	group := semconv.MessagingConsumerGroupName(h.Group)
	for state := consume.NotRunning; state <= consume.Leaving; state++ {
		o.ObserveInt64(g.member, oneIf(state == h.State), metric.WithAttributes(group, stateKey.String(state.String())))
	}
	for _, p := range h.Partitions {
		place := []attribute.KeyValue{group, semconv.MessagingDestinationName(p.Topic), semconv.MessagingDestinationPartitionID(strconv.Itoa(int(p.Partition)))}
		for state := consume.Acquiring; state <= consume.Paused; state++ {
			o.ObserveInt64(g.partition, oneIf(state == p.State), metric.WithAttributes(append(place, stateKey.String(state.String()))...))
		}
		o.ObserveFloat64(g.age, age(h.At, p).Seconds(), metric.WithAttributes(place...))
		if p.Lag >= 0 {
			o.ObserveInt64(g.lag, p.Lag, metric.WithAttributes(place...))
		}
	}
}

// age is for how long records have waited without a COMMIT.
func age(now time.Time, p consume.PartitionHealth) time.Duration {
	switch {
	case p.State == consume.Idle:
		return 0
	case p.LastSuccess.IsZero():
		return now.Sub(p.Since)
	default:
		return now.Sub(p.LastSuccess)
	}
}

func oneIf(is bool) int64 {
	if is {
		return 1
	}

	return 0
}

package e2e_test

import (
	"context"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/lease"
	"github.com/nova-events/idempotent-consumer/outbox"
)

// reports checks what is measured.
func (o telemetry) reports(t *testing.T, want map[string]float64) {
	t.Helper()
	points := o.collect(t)
	for name, value := range want {
		if got, measured := points[name]; !measured || got != value {
			t.Errorf("%s is %v (measured: %v), want %v", name, got, measured, value)
		}
	}
	if t.Failed() {
		t.Log(points)
	}
}

// What is told of an outbox is what it holds and what became of its records: of twelve one is refused and one parked behind it.
func TestTelemetryOfOutbox(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	s.topic = s.broker.CreateTopic(t, 1, broker.Settings{"max.message.bytes": "2000"})
	producer, closeProducer, err := newProducer(s.broker.Addrs)
	if err != nil {
		t.Fatal(err)
	}
	defer closeProducer()
	o := newTelemetry(t, s.group)
	relay, err := outbox.NewRelay(s.pool, producer, outbox.Config{Poll: 10 * time.Millisecond, Hooks: o.OutboxHooks(outbox.Hooks{})})
	if err == nil {
		_, err = o.ObserveOutbox(relay)
	}
	if err != nil {
		t.Fatal(err)
	}
	records := s.outgoing(0, 12, 11) // The last one has the key of the first.
	records[0].Value = make([]byte, 5_000)
	_, _ = rand.Read(records[0].Value) // It cannot be compressed. It never fails.
	s.publish(t, records...)
	o.reports(t, map[string]float64{"idem.outbox.backlog waiting": 12, "idem.outbox.backlog failed": 0, "idem.outbox.records delivered": 0})

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- relay.Run(ctx) }()
	s.awaitNoneInOutbox(t, "state IS NULL")
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	o.reports(t, map[string]float64{
		"idem.outbox.backlog waiting": 0, "idem.outbox.backlog failed": 1, "idem.outbox.backlog parked": 1, "idem.outbox.lag": 0,
		"idem.outbox.records delivered": 10, "idem.outbox.records failed": 1, "idem.outbox.records parked": 1, "messaging.client.sent.messages send": 10,
	})
}

// What is told of leases is what became of their events: one is completed, and one waits for an operator.
func TestTelemetryOfLeases(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	o := newTelemetry(t, s.group)
	guard, err := idem.New(s.pool, idem.Config{Consumer: "charges", Hooks: o.GuardHooks(idem.Hooks{})})
	if err != nil {
		t.Fatal(err)
	}
	leases, err := lease.New(guard, lease.Config{Hooks: o.LeaseHooks(lease.Hooks{})})
	if err == nil {
		_, err = o.ObserveLeases(leases)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"paid", "paid", "lost", "lost"} {
		_, err := leases.Do(t.Context(), id, func(ctx context.Context, a *lease.Attempt) (lease.Result, error) {
			result, err := a.Step(ctx, "charge", func(context.Context) (lease.Result, error) { return lease.Result{}, nil })
			if id == "lost" {
				err = lease.Unknown(errors.New("no answer"))
			}

			return result, err
		})
		if err != nil != (id == "lost") {
			t.Fatal(err)
		}
	}
	o.reports(t, map[string]float64{
		"idem.lease.lookups acquired": 2, "idem.lease.lookups already_processed": 1, "idem.lease.lookups undecided": 1, "idem.lease.lookups in_progress": 0,
		"idem.lease.attempts returned": 1, "idem.lease.attempts unknown": 1, "idem.lease.attempts lost": 0, "idem.events processed": 1, "idem.leases.undecided": 1,
		"idem.operation.duration effect": 1, "idem.operation.duration effect _OTHER": 1, "idem.operation.duration step": 2,
	})
}

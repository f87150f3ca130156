package main

import (
	"context"
	"time"

	"github.com/nova-events/idempotent-consumer/e2e/history"
)

// Faults of Kafka.
const (
	killBroker    = "kill -9 of a broker"
	restartBroker = "restart of a broker"
	moveLeaders   = "leaders that move"
	cutBroker     = "cut of a broker's connections"
	kafkaLatency  = "slow network to a broker"
	kafkaStall    = "one-sided network to a broker"
	addPartition  = "another partition"
	recreate      = "topic deleted and created again"
	limitClients  = "quotas of the brokers"
	haunt         = "zombie of a transactional producer"
)

const mostPartitions = 8

// brokerPatience is for a machine that is very busy.
const brokerPatience = 5 * time.Minute

func brokerOf(f fault) int { return 1 + int(f.pick%3) }

func (n *nemesis) killBroker(ctx context.Context, f fault) error {
	n.brokers.Lock()
	defer n.brokers.Unlock()
	n.stack.kafka.Kill(brokerOf(f))
	wait(ctx, f.between(0, 4*time.Second))

	return n.recover(ctx, brokerOf(f))
}

// recover brings brokers back, all if none is named, also when the run is interrupted: but then others may be away for good, without whom one
// never is ready.
func (n *nemesis) recover(ctx context.Context, ids ...int) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), brokerPatience)
	defer cancel()

	return n.stack.kafka.Recover(ctx, ids...)
}

func (n *nemesis) restartBroker(ctx context.Context, f fault) error {
	n.brokers.Lock()
	defer n.brokers.Unlock()

	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), brokerPatience)
	defer cancel()

	return n.stack.kafka.Restart(ctx, brokerOf(f))
}

// limitClients has the brokers throttle each client, us too.
func (n *nemesis) limitClients(ctx context.Context, f fault) error {
	if err := setQuotas(ctx, n.stack.admin, float64(f.between(500, 20_000))); err != nil {
		return err
	}
	wait(ctx, f.between(500*time.Millisecond, 4*time.Second))

	return n.lift(ctx)
}

// lift tries until it has: quotas must not outlive the run.
func (n *nemesis) lift(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*requestTimeout)
	defer cancel()
	for {
		if err = setQuotas(ctx, n.stack.admin, unlimited); err == nil || ctx.Err() != nil {
			return err
		}
		wait(ctx, observeEvery)
	}
}

func (n *nemesis) haunt(ctx context.Context, _ fault) error {
	select {
	case n.haunted <- struct{}{}:
		return nil
	case <-time.After(sendTimeout):
		return errNothing
	case <-ctx.Done():
		return ctx.Err()
	}
}

// moveLeaders waits for an unclean election, which counts on the leader that it has found.
func (n *nemesis) moveLeaders(ctx context.Context, f fault) error {
	n.brokers.Lock()
	defer n.brokers.Unlock()
	of := [][]history.Partition{partitionsOf(topic, n.partitions.Load()), partitionsOf(outcomes, outcomePartitions), partitionsOf(frail, frailPartitions)}[f.pick>>8%3]

	return moveLeadersOf(ctx, n.stack.admin, of, int(f.pick%3))
}

func (n *nemesis) brokerWeather(ctx context.Context, f fault) error {
	w := n.stack.wireOf(brokerOf(f))
	switch f.kind {
	case cutBroker:
		w.cut()

		return nil
	case kafkaStall:
		w.set(weather{there: f.pick%2 == 0, andBack: f.pick%2 != 0})
	default:
		w.set(weather{delay: f.between(time.Millisecond, 30*time.Millisecond), part: 100 + int(f.pick%1400)})
	}
	wait(ctx, f.between(100*time.Millisecond, 5*time.Second))
	w.set(weather{})

	return nil
}

// addPartition adds one and waits until it has an owner whose checkpoint is written.
func (n *nemesis) addPartition(ctx context.Context, _ fault) error {
	n.topology.Lock()
	defer n.topology.Unlock()
	more := int(n.partitions.Load()) + 1
	if more > mostPartitions {
		return errNothing
	}
	if err := addPartitionTo(ctx, n.stack.admin, more); err != nil {
		return err
	}
	n.partitions.Add(1)
	ctx, cancel := context.WithTimeout(ctx, n.plan.patience)
	defer cancel()
	for ctx.Err() == nil {
		if _, there := n.observer.position(history.Partition{Topic: topic, Partition: int32(more - 1)}); there { //nolint:gosec // It is small.
			wait(ctx, unwritten)

			return nil
		}
		wait(ctx, observeEvery)
	}

	return nil
}

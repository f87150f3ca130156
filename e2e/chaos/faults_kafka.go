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
)

const mostPartitions = 8

func brokerOf(f fault) int { return 1 + int(f.pick%3) }

func (n *nemesis) killBroker(ctx context.Context, f fault) error {
	n.stack.kafka.Kill(brokerOf(f))
	wait(ctx, f.between(0, 4*time.Second))

	return n.stack.kafka.Recover(context.WithoutCancel(ctx), brokerOf(f))
}

func (n *nemesis) restartBroker(ctx context.Context, f fault) error {
	return n.stack.kafka.Restart(context.WithoutCancel(ctx), brokerOf(f))
}

func (n *nemesis) moveLeaders(ctx context.Context, f fault) error {
	return moveLeadersOf(ctx, n.stack.admin, int(n.partitions.Load()), int(f.pick%3))
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

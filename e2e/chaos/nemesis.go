package main

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nova-events/idempotent-consumer/e2e/history"
	"github.com/nova-events/idempotent-consumer/ops"
)

// nemesis causes the faults of a plan.
type nemesis struct {
	plan       plan
	stack      *stack
	fleet      *fleet
	observer   *observer
	ops        *ops.Client
	partitions *atomic.Int32
	lives      *lives
	elections  *elections
	haunted    chan struct{} // by a producer of the same transactional id
	sayf       func(format string, args ...any)

	// topology is held while commits can be lost, and while a partition is new: the checkpoint of a new partition
	// that is lost while its offset in Kafka is not needs an operator.
	topology sync.Mutex

	// brokers is held while one is down. Two at a time are down for an unclean election alone.
	brokers sync.Mutex

	mu     sync.Mutex
	caused map[string]int // faults by kind
	losses []history.Loss
	resets []history.Reset
}

// causes are the faults by kind. Those that last end before they return.
var causes = map[string]func(n *nemesis, ctx context.Context, f fault) error{
	kill: (*nemesis).kill, freeze: (*nemesis).freeze, dismiss: (*nemesis).dismiss, join: (*nemesis).join,
	change: (*nemesis).change, convert: (*nemesis).convert, exhaust: (*nemesis).exhaust,
	stepClock: (*nemesis).stepClock, restart: (*nemesis).restart, failover: (*nemesis).failover, forget: (*nemesis).forget,
	terminate: (*nemesis).terminate, cutBefore: (*nemesis).cutCommit, cutBehind: (*nemesis).cutCommit, cutAt: (*nemesis).cutCommit,
	cutAll: (*nemesis).cutAll, killBouncer: (*nemesis).killBouncer, refuse: (*nemesis).refuse, lockCheckpoints: (*nemesis).lock, lockStock: (*nemesis).lock,
	pgLatency: (*nemesis).pgWeather, pgStall: (*nemesis).pgWeather,
	killBroker: (*nemesis).killBroker, restartBroker: (*nemesis).restartBroker, moveLeaders: (*nemesis).moveLeaders, elect: (*nemesis).elect, migrateUp: (*nemesis).migrate,
	cutBroker: (*nemesis).brokerWeather, kafkaLatency: (*nemesis).brokerWeather, kafkaStall: (*nemesis).brokerWeather,
	addPartition: (*nemesis).addPartition, limitClients: (*nemesis).limitClients, haunt: (*nemesis).haunt, recreate: (*nemesis).recreate, fullDisk: (*nemesis).fillDisk,
	pauseGroup: (*nemesis).pauseGroup, resetBack: (*nemesis).resetBack, replayLetters: (*nemesis).replayLetters, cleanUp: (*nemesis).cleanUp,
}

// run causes all faults at their times. Faults of one domain wait for each other.
func (n *nemesis) run(ctx context.Context, began time.Time) {
	var running sync.WaitGroup
	for domain, kinds := range domains {
		running.Go(func() {
			for _, f := range n.plan.faults {
				if f.domain != domain {
					continue
				}
				wait(ctx, time.Until(began.Add(f.at)))
				if ctx.Err() != nil || time.Since(began) > n.plan.duration {
					return // Those before took too long.
				}
				n.cause(ctx, f)
				wait(ctx, kinds.pause/4) // Also if it has taken long.
			}
		})
	}
	running.Wait()
}

func (n *nemesis) cause(ctx context.Context, f fault) {
	if err := causes[f.kind](n, ctx, f); err != nil {
		if ctx.Err() == nil && !errors.Is(err, errNothing) {
			n.sayf("%s came to nothing: %v", f.kind, err)
		}

		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.caused[f.kind]++
}

// between draws a duration.
func (f fault) between(shortest, longest time.Duration) time.Duration {
	return shortest + time.Duration(f.pick>>20)%(longest-shortest)
}

// lost notes that the database may have lost what it committed since a time.
func (n *nemesis) lost(since time.Time, how string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.losses = append(n.losses, history.Loss{From: since, To: time.Now(), How: how})
}

// partition chooses one.
func (n *nemesis) partition(f fault) history.Partition {
	all := n.observer.partitions()

	return all[f.pick%uint64(len(all))]
}

// errNothing says that there is nothing to strike.
var errNothing = errors.New("there is nothing to strike")

// count is how many faults there were.
func (n *nemesis) count() (all int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, times := range n.caused {
		all += times
	}

	return all
}

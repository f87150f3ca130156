package main

import (
	"context"
	"syscall"
	"time"
)

// Faults of workers.
const (
	kill    = "kill -9 of a worker"
	freeze  = "SIGSTOP of a worker"
	dismiss = "SIGTERM of a worker"
	join    = "another worker"
	change  = "change of all workers"
	exhaust = "exhausted pool"
	convert = "change of the group's protocol"
)

const mostWorkers = 6

func (n *nemesis) kill(ctx context.Context, f fault) error {
	m := n.fleet.pick(f.pick, 0)
	if m == nil {
		return errNothing
	}
	n.fleet.end(ctx, m, syscall.SIGKILL)

	return n.fleet.fill(ctx)
}

// freeze stops a worker, often for longer than its session.
func (n *nemesis) freeze(ctx context.Context, f fault) error {
	m := n.fleet.pick(f.pick, 0)
	if m == nil {
		return errNothing
	}
	n.fleet.freeze(ctx, m, f.between(200*time.Millisecond, 2*sessionTimeout))

	return nil
}

func (n *nemesis) dismiss(ctx context.Context, f fault) error {
	m := n.fleet.pick(f.pick, 1)
	if m == nil {
		return errNothing
	}
	n.fleet.end(ctx, m, syscall.SIGTERM)
	wait(ctx, f.between(0, 2*time.Second))

	return n.fleet.fill(ctx)
}

func (n *nemesis) join(ctx context.Context, f fault) error {
	if n.fleet.size() >= mostWorkers {
		return n.dismiss(ctx, f)
	}

	return n.fleet.start(ctx)
}

func (n *nemesis) change(ctx context.Context, _ fault) error {
	return n.fleet.replace(ctx, n.fleet.currentProtocol())
}

func (n *nemesis) convert(ctx context.Context, f fault) error {
	return n.fleet.replace(ctx, protocols[f.pick%uint64(len(protocols))])
}

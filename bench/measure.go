package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// sample is one round of one measurement.
type sample struct {
	rate    float64 // a second
	cost    cost    // of an event
	latency latency

	// others is how many cores were busy with what is no part of the measurement, end to end the
	// broker included. Zero is unknown.
	others float64
}

// cost is what an event took. Zero is unknown.
type cost struct {
	WALBytes    float64 `json:"wal_bytes,omitempty"`
	ClientCPU   float64 `json:"client_cpu_us,omitempty"`
	ServerCPU   float64 `json:"server_cpu_us,omitempty"`
	Allocations float64 `json:"client_allocations,omitempty"`
	AllocBytes  float64 `json:"client_allocated_bytes,omitempty"`
}

// othersSince is how many cores have been busy with other things since an earlier reading.
func (u usage) othersSince(earlier usage) float64 {
	used := u.machine - earlier.machine - (u.client - earlier.client) - (u.server - earlier.server)

	return max(0, used.Seconds()/u.at.Sub(earlier.at).Seconds())
}

// cpu is the time of client and server together, or 0 where one of them is unknown.
func (c cost) cpu() float64 {
	if c.ClientCPU == 0 || c.ServerCPU == 0 {
		return 0
	}

	return c.ClientCPU + c.ServerCPU
}

// latency is that of one call, in milliseconds.
type latency struct {
	P50 float64 `json:"p50_ms,omitempty"`
	P99 float64 `json:"p99_ms,omitempty"`
}

// usage is a reading of all counters.
type usage struct {
	at          time.Time
	wal         float64
	client      time.Duration
	server      time.Duration
	machine     time.Duration
	allocations uint64
	bytes       uint64
}

func (d *database) usage(ctx context.Context) (usage, error) {
	wal, err := d.number(ctx, "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::float8")
	if err != nil {
		return usage{}, err
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)

	return usage{time.Now(), wal, clientCPU(), serverCPU(d.postmaster), machineCPU(), memory.Mallocs, memory.TotalAlloc}, nil
}

// since is what each of the events took since another reading.
func (u usage) since(earlier usage, events int64) cost {
	n := float64(max(events, 1))

	return cost{
		WALBytes:    (u.wal - earlier.wal) / n,
		ClientCPU:   float64((u.client - earlier.client).Nanoseconds()) / 1e3 / n,
		ServerCPU:   float64((u.server - earlier.server).Nanoseconds()) / 1e3 / n,
		Allocations: float64(u.allocations-earlier.allocations) / n,
		AllocBytes:  float64(u.bytes-earlier.bytes) / n,
	}
}

// step processes some events for one worker and says how many.
type step func(ctx context.Context, worker int) (int, error)

// loop measures steps that workers take side by side. Between warm-up and measurement all
// workers stand still.
func (d *database) loop(ctx context.Context, w window, workers int, take step) (sample, error) {
	if w.warmup > 0 {
		if _, err := loopFor(ctx, w.warmup, workers, take); err != nil {
			return sample{}, err
		}
	}
	runtime.GC()
	before, err := d.usage(ctx)
	if err != nil {
		return sample{}, err
	}
	took, err := loopFor(ctx, w.length, workers, take)
	if err != nil {
		return sample{}, err
	}
	after, err := d.usage(ctx)
	if err != nil {
		return sample{}, err
	}

	return sample{
		rate: float64(took.events) / took.elapsed.Seconds(), cost: after.since(before, took.events), latency: took.latency(),
		others: after.othersSince(before),
	}, nil
}

type taken struct {
	events  int64
	elapsed time.Duration
	steps   []time.Duration
}

func loopFor(ctx context.Context, length time.Duration, workers int, take step) (taken, error) {
	group, ctx := errgroup.WithContext(ctx)
	parts := make([]taken, workers)
	began := time.Now()
	for worker := range workers {
		group.Go(func() error {
			part := &parts[worker]
			for now := time.Now(); now.Sub(began) < length; {
				n, err := take(ctx, worker)
				if err != nil {
					return fmt.Errorf("worker %d: %w", worker, err)
				}
				part.events += int64(n)
				end := time.Now()
				part.steps = append(part.steps, end.Sub(now))
				now = end
			}

			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return taken{}, err
	}
	all := taken{elapsed: time.Since(began)}
	for _, part := range parts {
		all.events += part.events
		all.steps = append(all.steps, part.steps...)
	}

	return all, nil
}

func (t taken) latency() latency {
	slices.Sort(t.steps)
	at := func(percent int) float64 {
		return float64(t.steps[(len(t.steps)-1)*percent/100].Nanoseconds()) / 1e6
	}
	if len(t.steps) == 0 {
		return latency{}
	}

	return latency{P50: at(50), P99: at(99)}
}

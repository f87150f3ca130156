package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5/pgxpool"
)

// The names of the subjects, as they stand in the results.
const (
	seedName          = "seed"
	markFirstName     = "mark_first"
	singleName        = "single"
	execName          = "exec"
	batchName         = "batch"
	checkpointName    = "checkpoint"
	bothName          = "batch_checkpoint"
	pgbenchName       = "pgbench"
	pgxName           = "pgx"
	rawName           = "raw_sql"
	rawCheckpointName = "raw_sql_checkpoint"
)

// subject is one way to process events.
type subject struct {
	name    string
	workers int
	size    int // events in a call
	open    opener
	// run measures what is no loop over open's steps.
	run func(ctx context.Context, d *database, s settings, l load, w window) (sample, error)
}

// job is what a subject works on.
type job struct {
	database *database
	pool     *pgxpool.Pool
	workers  int
	size     int
	accounts int
}

// processor processes events of a worker, all of them in one call.
type processor func(ctx context.Context, worker int, events []event) error

// opener prepares a processor and returns what closes it.
type opener func(ctx context.Context, j *job) (processor, func(), error)

func nothing() {}

// measure measures one round.
func (x subject) measure(ctx context.Context, d *database, s settings, l load, w window) (sample, error) {
	if err := d.reset(ctx); err != nil {
		return sample{}, err
	}
	if x.run != nil {
		return x.run(ctx, d, s, l, w)
	}
	pool, err := d.pool(ctx, x.workers, nil)
	if err != nil {
		return sample{}, err
	}
	defer pool.Close()
	process, closer, err := x.open(ctx, &job{database: d, pool: pool, workers: x.workers, size: x.size, accounts: d.accounts})
	if err != nil {
		return sample{}, fmt.Errorf("%s: %w", x.name, err)
	}
	defer closer()
	streams, buffers := make([]*stream, x.workers), make([][]event, x.workers)
	for i := range streams {
		streams[i] = newStream(l, i, x.workers, d.accounts)
		buffers[i] = make([]event, x.size)
	}
	result, err := d.loop(ctx, w, x.workers, func(ctx context.Context, worker int) (int, error) {
		streams[worker].fill(buffers[worker])

		return x.size, process(ctx, worker, buffers[worker])
	})
	if err != nil {
		return sample{}, fmt.Errorf("%s: %w", x.name, err)
	}

	return result, nil
}

// id names a measurement of the subject.
func (x subject) id(l load) string {
	id := "direct/" + x.name + "/" + strconv.Itoa(x.workers)
	switch {
	case l.Prefilled > 0:
		id += "/" + strconv.FormatInt(l.Prefilled, 10) + "_rows"
	case l.Duplicates > 0:
		id += "/" + strconv.Itoa(l.Duplicates) + "_percent_duplicates"
	case l.IDs != uuid4:
		id += "/" + l.IDs
	}

	return id
}

func seedSubject(workers int) subject {
	return subject{name: seedName, workers: workers, size: 1, open: openSeed}
}

func markFirstSubject(workers int) subject {
	return subject{name: markFirstName, workers: workers, size: 1, open: openMarkFirst}
}

func singleSubject(workers int) subject {
	return subject{name: singleName, workers: workers, size: 1, open: openSingle}
}

func execSubject(workers int) subject {
	return subject{name: execName, workers: workers, size: 1, open: openExec}
}

func batchSubject(name string, sessions, size int) subject {
	open := map[string]opener{
		batchName: openBatch, checkpointName: openCheckpoint, bothName: openBoth, rawName: openRaw, rawCheckpointName: openRawCheckpoint,
	}[name]

	return subject{name: name, workers: sessions, size: size, open: open}
}

// baseSubjects are those that are measured with the base load.
func baseSubjects(s settings, tools *limits) []subject {
	var all []subject
	for _, workers := range slices.Compact(slices.Sorted(slices.Values(append([]int{s.Workers}, s.SeedWorkers...)))) {
		all = append(all, seedSubject(workers))
	}
	for _, workers := range slices.Compact([]int{s.Workers, max(s.Workers, slices.Max(s.SeedWorkers))}) {
		all = append(all, singleSubject(workers), execSubject(workers))
	}
	all = append(all, markFirstSubject(s.Workers), tools.pgxSubject(s.Workers))
	if tools.pgbench != "" {
		all = append(all, tools.pgbenchSubject(s.Workers))
	}
	for _, sessions := range s.Sessions {
		for _, name := range []string{bothName, batchName, rawName, rawCheckpointName, checkpointName} {
			if sessions > 1 && (name == rawName || name == rawCheckpointName) {
				continue
			}
			all = append(all, batchSubject(name, sessions, s.Batch))
		}
	}

	return append(all, fsyncSubject())
}

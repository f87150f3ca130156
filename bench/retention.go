package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nova-events/idempotent-consumer/idem"
)

// tableState is what the table of claims looks like at a moment.
type tableState struct {
	table, index, dead, vacuums float64
}

const tableStateSQL = `SELECT pg_relation_size(t)::float8, pg_indexes_size(t)::float8, pg_stat_get_dead_tuples(t)::float8,
 pg_stat_get_autovacuum_count(t)::float8 FROM (VALUES ('idem.processed_events'::regclass)) AS v (t)`

// retention measures whether claims can go on for ever: keys are claimed in batches at full speed while
// a cleaner deletes those that expire, for many times the retention and over several autovacuums.
// There is no business write, so that nothing but the claims limits it. The keys are of the first of the
// kinds of ids.
func (b *bench) retention(ctx context.Context) error {
	s := b.settings
	d, err := b.servers.newDatabase(ctx, "bench_retention", s.Accounts, 0)
	if err != nil {
		return err
	}
	defer d.close()
	if _, err := d.admin.Exec(ctx, `INSERT INTO idem.consumers (id, name, retention) VALUES (idem.consumer_id($1), $1, make_interval(secs => $2))`, consumerName, s.Retention); err != nil {
		return fmt.Errorf("register the consumer: %w", err)
	}
	workers := s.Sessions[len(s.Sessions)/2]
	pool, err := d.pool(ctx, workers, nil)
	if err != nil {
		return err
	}
	defer pool.Close()
	process, closer, err := openClaims(ctx, &job{database: d, pool: pool, workers: workers, size: s.Batch, accounts: d.accounts})
	if err != nil {
		return err
	}
	defer closer()
	streams, buffers := make([]*stream, workers), make([][]event, workers)
	for i := range streams {
		streams[i], buffers[i] = newStream(load{IDs: s.IDs[0]}, i, workers, d.accounts), make([]event, s.Batch)
	}
	claim := func(ctx context.Context, worker int) (int, error) {
		streams[worker].fill(buffers[worker])

		return s.Batch, process(ctx, worker, buffers[worker])
	}

	stop, err := startCleaner(ctx, d, idem.CleanerConfig{Share: 1}) // As many expire as are claimed.
	if err != nil {
		return err
	}
	b.sayf("%d sessions claim keys that are remembered for %.0f s", workers, s.Retention)
	m := measurement{Section: sectionRetention, Subject: batchName, Workers: workers, Batch: s.Batch, Load: load{IDs: s.IDs[0]}}
	err = b.steady(ctx, d, m, workers, claim)
	deleted, ended := stop()
	if err = errors.Join(err, ended); err != nil {
		return err
	}
	m.ID, m.Unit = "retention/deleted", "rows/s"
	b.report.record(m, sample{rate: deleted})
	b.sayf("%.0f rows deleted a second", deleted)

	return nil
}

// steady measures, after three times the retention, three parts of equal length.
func (b *bench) steady(ctx context.Context, d *database, m measurement, workers int, claim step) error {
	s := b.settings
	if _, err := b.watched(ctx, d, seconds(3*s.Retention), workers, claim); err != nil {
		return err
	}
	record := func(id, unit string, value float64) {
		m.ID, m.Unit = "retention/"+id, unit
		b.report.record(m, sample{rate: value})
	}
	var dead float64
	for _, part := range []string{"first", "second", "last"} {
		before, err := d.state(ctx)
		if err != nil {
			return err
		}
		from, err := d.usage(ctx)
		if err != nil {
			return err
		}
		took, err := b.watched(ctx, d, seconds(s.Steady/3), workers, claim)
		if err != nil {
			return err
		}
		to, err := d.usage(ctx)
		if err != nil {
			return err
		}
		after, err := d.state(ctx)
		if err != nil {
			return err
		}
		m.ID, m.Unit = "retention/rate/"+part, eventsPerSecond
		b.report.record(m, sample{
			rate: float64(took.events) / took.elapsed.Seconds(), cost: to.since(from, took.events), latency: took.latency(), others: to.othersSince(from),
		})
		record("slowest_batch/"+part, "ms", took.slowest)
		record("table/"+part, "MB", after.table/1e6)
		record("index/"+part, "MB", after.index/1e6)
		record("vacuums/"+part, "vacuums", after.vacuums-before.vacuums)
		dead = max(dead, took.state.dead)
	}
	record("most_dead", "rows", dead)
	b.later = append(b.later, func() {
		r := b.report
		r.divide("retention_last_vs_first_rate", "the last third of the time / the first", r.find("retention/rate/last"), r.find("retention/rate/first"), 0)
		r.divide("retention_last_vs_first_table", "size of the table, the same", r.find("retention/table/last"), r.find("retention/table/first"), 0)
		r.divide("retention_last_vs_first_index", "size of the index, the same", r.find("retention/index/last"), r.find("retention/index/first"), 0)
	})

	return nil
}

type watchedTime struct {
	taken

	state   tableState // the greatest values
	slowest float64    // batch, in milliseconds
}

// watched takes steps and looks at the table meanwhile.
func (b *bench) watched(ctx context.Context, d *database, length time.Duration, workers int, take step) (watchedTime, error) {
	var w watchedTime
	ended, failed := make(chan struct{}), make(chan error, 1)
	go func() {
		failed <- b.watchTable(ctx, d, ended, &w.state)
	}()
	var err error
	w.taken, err = loopFor(ctx, length, workers, take)
	close(ended)
	if err := errors.Join(err, <-failed); err != nil {
		return w, err
	}
	for _, step := range w.steps {
		w.slowest = max(w.slowest, float64(step.Nanoseconds())/1e6)
	}
	b.sayf("%7.0f events/s, p99 of a batch %.1f ms, slowest %.1f ms", float64(w.events)/w.elapsed.Seconds(), w.latency().P99, w.slowest)

	return w, nil
}

func (b *bench) watchTable(ctx context.Context, d *database, ended <-chan struct{}, most *tableState) error {
	const every = 10
	for i := 1; ; i++ {
		select {
		case <-ended:
			return nil
		case <-time.After(time.Second):
		}
		now, err := d.state(ctx)
		if err != nil {
			return err
		}
		if i%every == 0 {
			b.sayf("  table %.0f MB, index %.0f MB, %.0f dead rows, %.0f vacuums", now.table/1e6, now.index/1e6, now.dead, now.vacuums)
		}
		*most = tableState{max(most.table, now.table), max(most.index, now.index), max(most.dead, now.dead), now.vacuums}
	}
}

func (d *database) state(ctx context.Context) (s tableState, err error) {
	if err := d.admin.QueryRow(ctx, tableStateSQL).Scan(&s.table, &s.index, &s.dead, &s.vacuums); err != nil {
		return s, fmt.Errorf("look at the table: %w", err)
	}

	return s, nil
}

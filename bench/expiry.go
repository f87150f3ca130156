package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nova-events/idempotent-consumer/idem"
)

// expiry measures how long ProcessIfNew takes while expired rows are deleted from the same
// table, and without that, in turns.
func (b *bench) expiry(ctx context.Context) error {
	s := b.settings
	if s.Expired == 0 {
		return nil
	}
	b.sayf("filling a table with %d expired rows", s.Expired)
	d, err := b.servers.newDatabase(ctx, "bench_expiry", s.Accounts, 0)
	if err != nil {
		return err
	}
	defer d.close()
	for _, statement := range []string{
		`INSERT INTO idem.consumers (id, name, retention) VALUES (idem.consumer_id('expired'), 'expired', '1 hour')`,
		fmt.Sprintf(`INSERT INTO idem.processed_events (claim_id, consumer_id, key, processed_at)
		 SELECT gen_random_uuid(), (SELECT id FROM idem.consumers), gen_random_uuid(), now() - interval '1 day' FROM generate_series(1, %d)`, s.Expired),
		`VACUUM ANALYZE idem.processed_events`,
	} {
		if _, err := d.admin.Exec(ctx, statement); err != nil {
			return fmt.Errorf("fill the table: %w", err)
		}
	}
	d.prefilled = s.Expired // reset leaves them alone.
	x := singleSubject(s.Workers)
	for range s.LoadRounds {
		for _, name := range []string{"undisturbed", "while_deleting"} {
			result, deleted, err := b.whileDeleting(ctx, d, x, name == "while_deleting")
			if err != nil {
				return err
			}
			b.sayf("%-15s %6.0f events/s, p50 %.1f ms, p99 %.1f ms, %.0f rows deleted a second", name, result.rate, result.latency.P50, result.latency.P99, deleted)
			m := measurement{Section: sectionExpiry, Subject: name, Workers: x.workers, Batch: 1, Load: load{IDs: uuid4, Prefilled: s.Expired}}
			m.ID, m.Unit = "expiry/rate/"+name, eventsPerSecond
			b.report.record(m, result)
			m.ID, m.Unit = "expiry/p99/"+name, "ms"
			b.report.record(m, sample{rate: result.latency.P99})
			if name == "while_deleting" {
				m.ID, m.Unit = "expiry/deleted", "rows/s"
				b.report.record(m, sample{rate: deleted})
			}
		}
	}

	return nil
}

// whileDeleting measures a subject, as a cleaner deletes or not, and returns how many rows a second it
// deletes.
func (b *bench) whileDeleting(ctx context.Context, d *database, x subject, deleting bool) (_ sample, deleted float64, err error) {
	var ended error
	if deleting {
		open := x.open
		x.open = func(ctx context.Context, j *job) (processor, func(), error) {
			process, closer, err := open(ctx, j)
			if err != nil {
				return nil, nil, err
			}
			stop, err := startCleaner(ctx, d, idem.CleanerConfig{})

			return process, func() {
				deleted, ended = stop()
				closer()
			}, err
		}
	}
	result, err := x.measure(ctx, d, b.settings, baseLoad, b.settings.window())

	return result, deleted, errors.Join(err, ended)
}

// startCleaner deletes expired rows until stop is called, which returns how many a second it were.
func startCleaner(ctx context.Context, d *database, config idem.CleanerConfig) (stop func() (float64, error), err error) {
	pool, err := d.pool(ctx, 1, nil)
	if err != nil {
		return nil, err
	}
	cleaner, err := idem.NewCleaner(pool, config)
	if err != nil {
		pool.Close()

		return nil, fmt.Errorf("make a cleaner: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	deleted, began, ended := int64(0), time.Now(), make(chan error, 1)
	go func() {
		for {
			report, err := cleaner.Clean(ctx)
			deleted += report.Deleted
			if err != nil {
				ended <- err

				return
			}
		}
	}()

	return func() (float64, error) {
		cancel()
		err := <-ended
		pool.Close()
		if errors.Is(err, context.Canceled) {
			err = nil
		}

		return float64(deleted) / time.Since(began).Seconds(), err
	}, nil
}

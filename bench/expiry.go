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
		`INSERT INTO idem.consumers (name, retention) VALUES ('expired', '1 hour')`,
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
	if !deleting {
		result, err := x.measure(ctx, d, b.settings, baseLoad, b.settings.window())

		return result, 0, err
	}
	pool, err := d.pool(ctx, 1, nil)
	if err != nil {
		return sample{}, 0, err
	}
	defer pool.Close()
	cleaner, err := idem.NewCleaner(pool, idem.CleanerConfig{})
	if err != nil {
		return sample{}, 0, fmt.Errorf("make a cleaner: %w", err)
	}
	cleaning, stop := context.WithCancel(ctx)
	type ending struct {
		deleted int64
		err     error
	}
	ended := make(chan ending, 1)
	began := time.Now()
	go func() {
		var e ending
		for e.err == nil {
			var report idem.CleanupReport
			report, e.err = cleaner.Clean(cleaning)
			e.deleted += report.Deleted
		}
		ended <- e
	}()
	result, err := x.measure(ctx, d, b.settings, baseLoad, b.settings.window())
	stop()
	end := <-ended
	if end.err != nil && !errors.Is(end.err, context.Canceled) {
		err = errors.Join(err, fmt.Errorf("delete expired rows: %w", end.err))
	}

	return result, float64(end.deleted) / time.Since(began).Seconds(), err
}

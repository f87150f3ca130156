package idem_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
)

// age registers a consumer and makes rows for it, one for each hour of the past.
func (b *bundle) age(t *testing.T, consumer string, retention time.Duration, rows int) *idem.Guard {
	t.Helper()
	guard := newGuard(t, b.pool, idem.Config{Consumer: consumer, Retention: retention})
	if err := guard.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.exec(t, `INSERT INTO idem.processed_events (processed_at, consumer_id, key, claim_id, event_id)
		SELECT now() - make_interval(hours => n), c.id, idem.event_key('e' || n), gen_random_uuid(), 'e' || n
		FROM generate_series(1, $1) n, idem.consumers c WHERE c.name = $2`, rows, consumer)

	return guard
}

func (b *bundle) count(t *testing.T) (n int) {
	t.Helper()
	if err := b.pool.QueryRow(t.Context(), `SELECT count(*) FROM idem.processed_events`).Scan(&n); err != nil {
		t.Fatal(err)
	}

	return n
}

func TestCleanupHonoursEachRetention(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.age(t, "long", 48*time.Hour-time.Minute, 100)
	guard := b.age(t, "short", 24*time.Hour-time.Minute, 100)
	b.age(t, "for ever", 100*365*24*time.Hour, 100)
	cleaner, err := idem.NewCleaner(b.pool, idem.CleanerConfig{})
	if err != nil {
		t.Fatal(err)
	}

	expired, err := cleaner.CountExpired(t.Context())
	if err != nil || fmt.Sprint(expired) != "map[long:53 short:77]" {
		t.Fatalf("CountExpired: %v, %v", expired, err)
	}
	report, err := guard.CleanupOldEvents(t.Context())
	if err != nil || !report.Complete || report.Deleted != 130 || fmt.Sprint(report.Consumers) != "map[long:53 short:77]" || report.Elapsed <= 0 {
		t.Fatalf("CleanupOldEvents: %+v, %v", report, err)
	}
	if n := b.count(t); n != 170 {
		t.Fatalf("%d rows are left", n)
	}
	for id, kept := range map[string]bool{"e23": true, "e24": false} {
		if got, err := guard.IsProcessed(t.Context(), id); got != kept || err != nil {
			t.Errorf("%s: %v, %v", id, got, err)
		}
	}
	report, err = guard.CleanupOldEvents(t.Context())
	if err != nil || !report.Complete || report.Deleted != 0 {
		t.Fatalf("second pass: %+v, %v", report, err)
	}
}

func TestCleanupInBatches(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.age(t, "c", time.Minute, 20000)
	var seen []idem.CleanupProgress
	cleaner, err := idem.NewCleaner(b.pool, idem.CleanerConfig{Progress: func(p idem.CleanupProgress) { seen = append(seen, p) }})
	if err != nil {
		t.Fatal(err)
	}
	report, err := cleaner.Clean(t.Context())
	if err != nil || report.Deleted != 20000 || report.Batches < 2 || len(seen) != report.Batches {
		t.Fatalf("%+v, %v, %d reports of progress", report, err, len(seen))
	}
	last := seen[len(seen)-1]
	if last.BlocksDone != last.BlocksTotal || last.Deleted != 20000 {
		t.Errorf("last progress: %+v", last)
	}
	if n := b.count(t); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

// A pass leaves the database to others for most of its time, and only for as long as it was told to.
func TestCleanupLeavesTimeToOthers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.age(t, "for ever", 100*365*24*time.Hour, 100_000)
	took := map[float64]time.Duration{}
	for _, share := range []float64{1, 0.02} {
		cleaner, err := idem.NewCleaner(b.pool, idem.CleanerConfig{Share: share})
		if err != nil {
			t.Fatal(err)
		}
		report, err := cleaner.Clean(t.Context())
		if err != nil || !report.Complete {
			t.Fatalf("%+v, %v", report, err)
		}
		took[share] = report.Elapsed
	}
	if took[0.02] < 5*took[1] {
		t.Errorf("with a fiftieth of the time it took %v, with all of it %v", took[0.02], took[1])
	}
	for _, share := range []float64{-1, 1.1, math.NaN()} {
		if _, err := idem.NewCleaner(b.pool, idem.CleanerConfig{Share: share}); !errors.Is(err, idem.ErrInvalidConfig) {
			t.Errorf("share %v: %v, want ErrInvalidConfig", share, err)
		}
	}
}

func TestCleanupStopsWithItsContext(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.age(t, "c", time.Minute, 20000)
	ctx, cancel := context.WithCancel(t.Context())
	cleaner, err := idem.NewCleaner(b.pool, idem.CleanerConfig{Progress: func(idem.CleanupProgress) { cancel() }})
	if err != nil {
		t.Fatal(err)
	}
	report, err := cleaner.Clean(ctx)
	if !errors.Is(err, context.Canceled) || report.Complete || report.Batches != 1 || report.Deleted == 0 {
		t.Fatalf("%+v, %v", report, err)
	}
	if n := b.count(t); n != 20000-int(report.Deleted) {
		t.Errorf("%d rows are left, %d are reported deleted", n, report.Deleted)
	}
}

func TestCleanupHasOneLeader(t *testing.T) {
	t.Parallel()
	b := setup(t)
	guard := b.age(t, "c", time.Minute, 100)
	tx, err := b.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	lead := `SELECT pg_try_advisory_xact_lock('idem.processed_events'::regclass::oid::integer, x'6964656d'::integer)`
	var leading bool
	if err := tx.QueryRow(t.Context(), lead).Scan(&leading); err != nil || !leading {
		t.Fatal(leading, err)
	}
	report, err := guard.CleanupOldEvents(t.Context())
	if err != nil || report.Complete || report.Deleted != 0 {
		t.Fatalf("while another one leads: %+v, %v", report, err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	report, err = guard.CleanupOldEvents(t.Context())
	if err != nil || !report.Complete || report.Deleted != 100 {
		t.Fatalf("alone: %+v, %v", report, err)
	}
}

// Cleanup deletes an expired claim while a new delivery of the event waits for it, and while
// fresh events are claimed: neither may lose an event or run one twice.
func TestCleanupWhileProcessing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	guard := b.age(t, "c", time.Minute, 2000)
	done := make(chan error)
	go func() {
		for i := range 2000 {
			id := fmt.Sprint("e", i+1)
			if _, err := guard.ProcessIfNew(t.Context(), id, effect(id)); err != nil {
				done <- err

				return
			}
		}
		done <- nil
	}()
	for running := true; running; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			running = false
		default:
			if _, err := guard.CleanupOldEvents(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	var claims, twice int
	err := b.pool.QueryRow(t.Context(), `SELECT
		(SELECT count(*) FROM idem.processed_events e WHERE NOT EXISTS (SELECT FROM public.effects f WHERE f.event_id = e.event_id)),
		(SELECT count(*) FROM (SELECT FROM public.effects GROUP BY event_id HAVING count(*) > 1) d)`).Scan(&claims, &twice)
	if err != nil || claims != 0 || twice != 0 {
		t.Fatalf("%d old claims are left, %d events ran twice, %v", claims, twice, err)
	}
}

func TestCleanerRunsUntilItsContextEnds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.age(t, "c", time.Minute, 100)
	ctx, cancel := context.WithCancel(t.Context())
	passes := 0
	cleaner, err := idem.NewCleaner(b.pool, idem.CleanerConfig{
		Interval: time.Millisecond,
		Progress: func(idem.CleanupProgress) {
			if passes++; passes == 3 {
				cancel()
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := cleaner.Run(ctx); err != nil || passes != 3 {
		t.Fatalf("%d passes, %v", passes, err)
	}
	if n := b.count(t); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

// Cleanup must not be the reason that a claim fails or waits for long: it holds its locks only
// for the time of a batch.
func TestCleanupReleasesItsLocksAfterEachBatch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	guard := b.age(t, "c", time.Minute, 20000)
	cleaner, err := idem.NewCleaner(b.pool, idem.CleanerConfig{Progress: func(idem.CleanupProgress) {
		got, err := guard.ProcessIfNew(t.Context(), "e1", func(context.Context, pgx.Tx) error { return errBoom })
		if got != 0 || !errors.Is(err, errBoom) {
			t.Errorf("claim of a deleted event between batches: %v, %v", got, err)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cleaner.Clean(t.Context()); err != nil {
		t.Fatal(err)
	}
}

package idem_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

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
	plan, err := operator(t, b.pool, "idem").PlanCleanup(t.Context())
	if err != nil || fmt.Sprint(plan) != "{130 [{long 53} {short 77}] 0 0}" {
		t.Fatalf("PlanCleanup: %v, %v", plan, err)
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

// A pass leaves the database to others for most of its time: behind each batch it pauses as long as its share says.
func TestCleanupLeavesTimeToOthers(t *testing.T) {
	t.Parallel()
	const share, least = 0.1, 10 * time.Millisecond // of a batch
	b := setup(t)
	b.age(t, "for ever", 100*365*24*time.Hour, 8_000)
	b.exec(t, `CREATE FUNCTION public.dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.01); RETURN NULL; END $$`)
	b.exec(t, `CREATE TRIGGER dawdle BEFORE DELETE ON idem.processed_events FOR EACH STATEMENT EXECUTE FUNCTION public.dawdle()`)
	cleaner, err := idem.NewCleaner(b.pool, idem.CleanerConfig{Share: share})
	if err != nil {
		t.Fatal(err)
	}
	report, err := cleaner.Clean(t.Context())
	if err != nil || !report.Complete || report.Batches < 2 {
		t.Fatalf("%+v, %v", report, err)
	}
	if pauses := time.Duration(report.Batches-1) * 9 * least; report.Elapsed < pauses {
		t.Errorf("%d batches, each of which took %v and more, with pauses of nine times that, took %v", report.Batches, least, report.Elapsed)
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
	if _, err := tx.Exec(t.Context(), `SELECT FROM idem.cleanup FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	report, err := guard.CleanupOldEvents(t.Context())
	leader := fmt.Sprintf("pid %d (role %q", tx.Conn().PgConn().PID(), tx.Conn().Config().User)
	if err != nil || report.Complete || report.Deleted != 0 || !strings.HasPrefix(report.Leader, leader) {
		t.Fatalf("while another one leads: %+v, %v; want the leader %s", report, err, leader)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	report, err = guard.CleanupOldEvents(t.Context())
	if err != nil || !report.Complete || report.Deleted != 100 {
		t.Fatalf("alone: %+v, %v", report, err)
	}
}

// A role that may only connect took the lead when it was an advisory lock, which anybody can take.
func TestStrangerCannotLeadTheCleanup(t *testing.T) {
	t.Parallel()
	stranger, owner := setupRole(t, func(string) string { return "" })
	guard := owner.age(t, "c", time.Minute, 100)
	tx, err := stranger.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context()) //nolint:errcheck // It changes nothing.
	if _, err := tx.Exec(t.Context(), `SELECT pg_advisory_xact_lock($1, x'6964656d'::integer)`, owner.oid(t, "idem.processed_events")); err != nil {
		t.Fatal(err)
	}
	report, err := guard.CleanupOldEvents(t.Context())
	if err != nil || !report.Complete || report.Deleted != 100 {
		t.Errorf("%+v, %v", report, err)
	}
	var pgErr *pgconn.PgError
	if _, err := tx.Exec(t.Context(), `SELECT FROM idem.cleanup FOR UPDATE`); !errors.As(err, &pgErr) || pgErr.Code != "42501" {
		t.Errorf("a stranger locks the lead: %v", err)
	}
}

func (b *bundle) oid(t *testing.T, table string) (oid int32) {
	t.Helper()
	if err := b.pool.QueryRow(t.Context(), `SELECT pg_catalog.to_regclass($1)::oid::integer`, table).Scan(&oid); err != nil {
		t.Fatal(err)
	}

	return oid
}

// A replay, or anybody, who holds an expired claim kept the pass waiting, and with it the claims that
// it had deleted by then.
func TestCleanupPassesByLockedRows(t *testing.T) {
	t.Parallel()
	for _, lock := range []string{"UPDATE", "NO KEY UPDATE", "SHARE", "KEY SHARE"} {
		t.Run(lock, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			guard := b.age(t, "c", time.Minute, 100)
			tx, err := b.pool.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tx.Exec(t.Context(), `SELECT FROM idem.processed_events WHERE event_id = ANY ('{e1,e50}') FOR `+lock); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			report, err := guard.CleanupOldEvents(ctx)
			if err != nil || !report.Complete || report.Deleted != 98 {
				t.Errorf("while two rows are locked: %+v, %v", report, err)
			}
			if err := tx.Rollback(t.Context()); err != nil {
				t.Fatal(err)
			}
			report, err = guard.CleanupOldEvents(t.Context())
			if err != nil || !report.Complete || report.Deleted != 2 {
				t.Fatalf("afterwards: %+v, %v", report, err)
			}
		})
	}
}

// A dead letter that somebody has locked does not keep the others.
func TestCleanupPassesByLockedLetters(t *testing.T) {
	t.Parallel()
	b := setup(t)
	owner := acquire(t, b.guard)
	for offset := range int64(3) {
		outcome, err := owner.StoreDeadLetter(t.Context(), letter(fmt.Sprint("e", offset), offset))
		want(t, "store", outcome, err, idem.Processed)
	}
	b.exec(t, `UPDATE idem.dead_letters SET state = 'discarded', resolved_at = now() - interval '1 year'`)
	tx, err := b.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context()) //nolint:errcheck // It changes nothing.
	if _, err := tx.Exec(t.Context(), `SELECT FROM idem.dead_letters WHERE record_offset = 0 FOR SHARE`); err != nil {
		t.Fatal(err)
	}
	report, err := b.guard.CleanupOldEvents(t.Context())
	if err != nil || !report.Complete || report.DeadLetters != 2 {
		t.Errorf("%+v, %v", report, err)
	}
}

// A TRUNCATE of all tables, or a restore of the schema alone, leaves out the row that whoever cleans up locks. The error says how to put it
// back, in the schema that it is.
func TestCleanupWithoutTheRowThatItLocks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	guard := b.age(t, "c", time.Minute, 100)
	outcome, err := guard.Unfenced(partition).StoreDeadLetter(t.Context(), letter("a", 0))
	want(t, "store", outcome, err, idem.Processed)
	b.exec(t, `UPDATE idem.dead_letters SET state = 'discarded', resolved_at = now() - interval '1 year'`)
	b.exec(t, `TRUNCATE idem.cleanup`)
	report, err := guard.CleanupOldEvents(t.Context())
	if !errors.Is(err, idem.ErrCannotCleanUp) || idem.IsTransient(err) || report.Complete || report.Leader != "" || report.Deleted != 0 || report.DeadLetters != 1 {
		t.Fatalf("%+v, %v", report, err)
	}
	_, heal, _ := strings.Cut(err.Error(), "run: ")
	b.exec(t, heal)
	report, err = guard.CleanupOldEvents(t.Context())
	if err != nil || !report.Complete || report.Deleted != 100 {
		t.Errorf("with the row: %+v, %v", report, err)
	}

	b.exec(t, `TRUNCATE idem.cleanup`)
	b.exec(t, `ALTER SCHEMA idem RENAME TO other`)
	cleaner, err := idem.NewCleaner(b.pool, idem.CleanerConfig{Schema: "other"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cleaner.Clean(t.Context()); !errors.Is(err, idem.ErrCannotCleanUp) || !strings.Contains(err.Error(), `INSERT INTO "other".cleanup DEFAULT VALUES;`) {
		t.Errorf("in a schema of another name: %v", err)
	}
}

// A partitioned table has no blocks of its own: a pass over them said "0 forgotten, complete". What is in other tables is forgotten.
func TestCleanupRefusesWhatItCannotScan(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"partitioned": `ALTER TABLE idem.processed_events RENAME TO plain;
			CREATE TABLE idem.processed_events (LIKE idem.plain INCLUDING ALL) PARTITION BY HASH (consumer_id);
			CREATE TABLE idem.part PARTITION OF idem.processed_events FOR VALUES WITH (MODULUS 1, REMAINDER 0);
			INSERT INTO idem.processed_events TABLE idem.plain`,
		"with a child": `CREATE TABLE idem.child () INHERITS (idem.processed_events)`,
		"a view": `ALTER TABLE idem.processed_events RENAME TO plain;
			CREATE VIEW idem.processed_events AS TABLE idem.plain`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			guard := b.age(t, "c", time.Minute, 100)
			outcome, err := guard.Unfenced(partition).StoreDeadLetter(t.Context(), letter("a", 0))
			want(t, "store", outcome, err, idem.Processed)
			b.exec(t, `UPDATE idem.dead_letters SET state = 'discarded', resolved_at = now() - interval '1 year'`)
			for statement := range strings.SplitSeq(sql, ";") {
				b.exec(t, statement)
			}
			b.exec(t, "GRANT SELECT ON idem.processed_events TO "+b.pool.Config().ConnConfig.User)
			report, err := guard.CleanupOldEvents(t.Context())
			if !errors.Is(err, idem.ErrCannotCleanUp) || report.Complete || report.DeadLetters != 1 {
				t.Errorf("%+v, %v", report, err)
			}
		})
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

// A cleaner that is too slow says so.
func TestCleanerSaysThatItIsSlow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.age(t, "c", time.Minute, 100)
	for interval, wanted := range map[time.Duration]string{time.Nanosecond: "level=WARN msg=\"idem: cleaned up, in longer than the interval: a larger Share is faster", time.Second: "level=INFO msg=\"idem: cleaned up\" deleted"} {
		ctx, cancel := context.WithCancel(t.Context())
		var log strings.Builder
		handler := slog.NewTextHandler(io.MultiWriter(&log, writer(cancel)), nil)
		cleaner, err := idem.NewCleaner(b.pool, idem.CleanerConfig{Interval: interval, Logger: slog.New(handler)})
		if err == nil {
			err = cleaner.Run(ctx)
		}
		if said := log.String(); err != nil || !strings.Contains(said, wanted) {
			t.Errorf("%v; it said %s", err, said)
		}
	}
}

// A cleaner that fails says when it tries again.
func TestCleanerSaysWhenItTriesAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.pool.Close()
	ctx, cancel := context.WithCancel(t.Context())
	var log strings.Builder
	handler := slog.NewTextHandler(io.MultiWriter(&log, writer(cancel)), nil)
	cleaner, err := idem.NewCleaner(b.pool, idem.CleanerConfig{Interval: time.Millisecond, Logger: slog.New(handler)})
	if err == nil {
		err = cleaner.Run(ctx)
	}
	if said := log.String(); err != nil || !strings.Contains(said, "cleanup failed, trying again\" pause=") {
		t.Errorf("%v; it said %s", err, said)
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

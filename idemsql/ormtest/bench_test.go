package ormtest_test

import (
	"context"
	"database/sql"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/idemsql"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

type handler = func(ctx context.Context, tx *sql.Tx) error

// BenchmarkProcessIfNew takes turns at one event with each of several ways, and reports the median of each. So what
// else the machine does makes all of them slower.
func BenchmarkProcessIfNew(b *testing.B) {
	const insert = `INSERT INTO public.effects VALUES ($1)`
	database := pgtest.NewServiceDB(b)
	pool := database.Pool(b)
	if _, err := pool.Exec(b.Context(), `CREATE TABLE public.effects (event_id text NOT NULL)`); err != nil {
		b.Fatal(err)
	}
	pooled, err := idem.New(pool, idem.Config{Consumer: "orders"})
	if err != nil {
		b.Fatal(err)
	}
	ways := map[string]func(ctx context.Context, eventID string, fn handler) (idem.Outcome, error){
		"idem": func(ctx context.Context, eventID string, _ handler) (idem.Outcome, error) {
			return pooled.ProcessIfNew(ctx, eventID, func(ctx context.Context, tx pgx.Tx) error {
				_, err := tx.Exec(ctx, insert, eventID)

				return err
			})
		},
		"InTx": func(ctx context.Context, eventID string, fn handler) (idem.Outcome, error) {
			return pooled.ProcessIfNew(ctx, eventID, func(ctx context.Context, tx pgx.Tx) error { return idemsql.InTx(ctx, tx, fn) })
		},
	}
	for _, driver := range []string{"pgx", "postgres", "pg"} {
		db, err := sql.Open(driver, database.DSN)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = db.Close() })
		guard, err := idemsql.New(db, idem.Config{Consumer: "orders"})
		if err != nil {
			b.Fatal(err)
		}
		ways["idemsql-"+driver] = func(ctx context.Context, eventID string, fn handler) (idem.Outcome, error) {
			return guard.ProcessIfNew(ctx, eventID, fn)
		}
		ways["by-hand-"+driver] = func(ctx context.Context, eventID string, fn handler) (idem.Outcome, error) {
			return byHand(ctx, db, eventID, fn)
		}
	}
	took := map[string][]time.Duration{}
	run := strconv.FormatInt(time.Now().UnixNano(), 10)
	for b.Loop() {
		for name, process := range ways {
			eventID := strings.Join([]string{name, run, strconv.Itoa(len(took[name]))}, "-")
			started := time.Now()
			outcome, err := process(b.Context(), eventID, func(ctx context.Context, tx *sql.Tx) error {
				_, err := tx.ExecContext(ctx, insert, eventID)

				return err
			})
			took[name] = append(took[name], time.Since(started))
			if err != nil || outcome != idem.Processed {
				b.Fatal(outcome, err)
			}
		}
	}
	for name, times := range took {
		slices.Sort(times)
		b.ReportMetric(float64(times[len(times)/2].Microseconds()), name+"-µs")
	}
}

// byHand is the same transaction without a guard.
func byHand(ctx context.Context, db *sql.DB, eventID string, fn handler) (idem.Outcome, error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback() //nolint:errcheck // Of what is not committed.
	const claim = `INSERT INTO idem.processed_events (consumer_id, key, claim_id) VALUES (1, idem.event_key($1), gen_random_uuid()) ON CONFLICT DO NOTHING`
	if _, err := tx.ExecContext(ctx, claim, eventID); err != nil {
		return 0, err
	}
	if err := fn(ctx, tx); err != nil {
		return 0, err
	}

	return idem.Processed, tx.Commit()
}

package idem_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
)

// process is how a consumer handles an event; the race below is run on the guard and on a
// mutant of it.
type process func(ctx context.Context, eventID string, fn idem.Handler) (idem.Outcome, error)

// race lets workers process one event at the same time, and says what went wrong.
func race(ctx context.Context, b *bundle, eventID string, workers []process) error {
	var (
		runs, processed atomic.Int32
		failure         atomic.Pointer[error]
		start           = make(chan struct{})
		group           sync.WaitGroup
	)
	for _, work := range workers {
		group.Go(func() {
			<-start
			outcome, err := work(ctx, eventID, func(ctx context.Context, tx pgx.Tx) error {
				runs.Add(1)

				return effect(eventID)(ctx, tx)
			})
			if err != nil {
				failure.Store(&err)
			}
			if outcome == idem.Processed {
				processed.Add(1)
			}
		})
	}
	close(start)
	group.Wait()
	if err := failure.Load(); err != nil {
		return *err
	}
	var effects int
	if err := b.pool.QueryRow(ctx, `SELECT count(*) FROM public.effects WHERE event_id = $1`, eventID).Scan(&effects); err != nil {
		return err
	}
	if runs.Load() != 1 || processed.Load() != 1 || effects != 1 {
		return fmt.Errorf("the handler ran %d times, took effect %d times, %d calls said processed",
			runs.Load(), effects, processed.Load())
	}

	return nil
}

var isolationLevels = []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable}

func TestRaceRunsTheHandlerOnce(t *testing.T) {
	t.Parallel()
	const rounds = 1000
	for _, level := range isolationLevels {
		for _, goroutines := range []int{10, 100} {
			t.Run(fmt.Sprintf("%s/%d", level, goroutines), func(t *testing.T) {
				t.Parallel()
				b := setup(t)
				workers := make([]process, goroutines)
				for i := range min(goroutines, 4) { // Several pools, as several processes have.
					guard := newGuard(t, b.db.Pool(t), idem.Config{
						Consumer: "orders", Isolation: level,
						Retry: idem.RetryPolicy{MaxAttempts: idem.Unlimited, InitialBackoff: time.Millisecond},
					})
					for j := i; j < goroutines; j += 4 {
						workers[j] = func(ctx context.Context, eventID string, fn idem.Handler) (idem.Outcome, error) {
							return guard.ProcessIfNew(ctx, eventID, fn)
						}
					}
				}
				for round := range rounds {
					if err := race(t.Context(), b, fmt.Sprint("event-", round), workers); err != nil {
						t.Fatalf("round %d: %v", round, err)
					}
				}
			})
		}
	}
}

// The race must be able to fail: with the claim moved behind the handler, as in the library
// that this one replaces, it does.
func TestRaceFindsTheClaimBehindTheHandler(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if err := b.guard.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	workers := make([]process, 10)
	for i := range workers {
		workers[i] = claimBehindHandler(b.guard, b.pool)
	}
	for round := range 1000 {
		if err := race(t.Context(), b, fmt.Sprint("event-", round), workers); err != nil {
			t.Logf("found in round %d: %v", round, err)

			return
		}
	}
	t.Fatal("1,000 rounds did not show that the claim stands behind the handler")
}

func claimBehindHandler(guard *idem.Guard, pool *pgxpool.Pool) process {
	return func(ctx context.Context, eventID string, fn idem.Handler) (outcome idem.Outcome, err error) {
		if done, err := guard.IsProcessed(ctx, eventID); err != nil || done {
			return idem.AlreadyProcessed, err
		}
		errDuplicate := errors.New("duplicate")
		err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			if err := fn(ctx, tx); err != nil {
				return err
			}
			claim, err := guard.ClaimTx(ctx, tx, eventID)
			if err == nil && !claim.New {
				err = errDuplicate
			}

			return err
		})
		if errors.Is(err, errDuplicate) {
			return idem.AlreadyProcessed, nil
		}

		return idem.Processed, err
	}
}

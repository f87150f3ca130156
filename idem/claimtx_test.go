package idem_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
)

func TestClaimTx(t *testing.T) {
	t.Parallel()
	for _, level := range isolationLevels {
		t.Run(string(level), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			ctx := t.Context()
			if err := b.guard.Register(ctx); err != nil {
				t.Fatal(err)
			}
			claimIn := func(end func(pgx.Tx) error) idem.Claim {
				t.Helper()
				tx, err := b.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: level})
				if err != nil {
					t.Fatal(err)
				}
				claim, err := b.guard.ClaimTx(ctx, tx, "e", idem.WithMetadata(idem.Metadata{Topic: "t"}))
				if err != nil {
					t.Fatal(err)
				}
				again, err := b.guard.ClaimTx(ctx, tx, "e")
				if err != nil || again.New {
					t.Fatalf("second claim in one transaction: %+v, %v", again, err)
				}
				if err := end(tx); err != nil { // The transaction is still the caller's to end.
					t.Fatal(err)
				}

				return claim
			}
			rollback := func(tx pgx.Tx) error { return tx.Rollback(ctx) }
			commit := func(tx pgx.Tx) error { return tx.Commit(ctx) }

			rolledBack := claimIn(rollback)
			if _, err := b.guard.Resolve(ctx, rolledBack); !rolledBack.New || !errors.Is(err, idem.ErrNotFound) {
				t.Fatalf("rolled back claim %+v: %v", rolledBack, err)
			}
			committed := claimIn(commit)
			outcome, err := b.guard.Resolve(ctx, committed)
			want(t, "the committed claim", outcome, err, idem.Processed)
			outcome, err = b.guard.Resolve(ctx, rolledBack)
			want(t, "the rolled back claim", outcome, err, idem.AlreadyProcessed)
			if duplicate := claimIn(rollback); duplicate.New || !committed.New {
				t.Fatalf("committed %+v, duplicate %+v", committed, duplicate)
			}
		})
	}
}

func TestClaimTxInSavepoint(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	if err := b.guard.Register(ctx); err != nil {
		t.Fatal(err)
	}
	claim := func(tx pgx.Tx, eventID string, wantNew bool) {
		t.Helper()
		claim, err := b.guard.ClaimTx(ctx, tx, eventID)
		if err != nil || claim.New != wantNew {
			t.Fatalf("claim of %s: %+v, %v", eventID, claim, err)
		}
	}
	err := pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error {
		claim(tx, "kept", true)
		undone := pgx.BeginFunc(ctx, tx, func(inner pgx.Tx) error {
			claim(inner, "undone", true)
			claim(inner, "kept", false)

			return errBoom
		})
		if !errors.Is(undone, errBoom) {
			return undone
		}
		claim(tx, "undone", true) // Free again: the savepoint took its claim back.

		return pgx.BeginFunc(ctx, tx, func(inner pgx.Tx) error {
			claim(inner, "released", true)

			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"kept", "undone", "released"} {
		if done, err := b.guard.IsProcessed(ctx, id); !done || err != nil {
			t.Errorf("%s: %v, %v", id, done, err)
		}
	}
}

// A claim waits for the transaction that holds the event; what it then gets depends on how
// that one ends.
func TestClaimWaitsForTheHolder(t *testing.T) {
	t.Parallel()
	for _, level := range isolationLevels {
		for _, commit := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/commit=%v", level, commit), func(t *testing.T) {
				t.Parallel()
				b := setup(t)
				ctx := t.Context()
				if err := b.guard.Register(ctx); err != nil {
					t.Fatal(err)
				}
				holder, err := b.pool.Begin(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if claim, err := b.guard.ClaimTx(ctx, holder, "e"); err != nil || !claim.New {
					t.Fatalf("%+v, %v", claim, err)
				}

				type result struct {
					outcome idem.Outcome
					err     error
				}
				waiter := make(chan result, 1)
				go func() {
					outcome, err := b.guard.ProcessIfNew(ctx, "e", effect("e"), idem.WithIsolation(level))
					waiter <- result{outcome, err}
				}()
				b.waitForLock(t)
				end, wanted := holder.Rollback, idem.Processed
				if commit {
					end, wanted = holder.Commit, idem.AlreadyProcessed
				}
				if err := end(ctx); err != nil {
					t.Fatal(err)
				}
				got := <-waiter
				want(t, "the waiter", got.outcome, got.err, wanted)
			})
		}
	}
}

// Two transactions that mark the same events in opposite order must not deadlock: the
// statement claims in the order of the keys.
func TestMarkAllInOppositeOrder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	// Without retries a deadlock would come out.
	guard := newGuard(t, b.pool, idem.Config{Consumer: "orders", Retry: idem.RetryPolicy{MaxAttempts: 1}})
	if err := guard.Register(ctx); err != nil {
		t.Fatal(err)
	}
	for round := range 50 {
		up, down := make([]string, 500), make([]string, 500)
		for i := range up {
			up[i] = fmt.Sprintf("%d-%d", round, i)
			down[len(down)-1-i] = up[i]
		}
		type result struct {
			n   int64
			err error
		}
		results := make(chan result, 2)
		for _, ids := range [][]string{up, down} {
			go func() {
				n, err := guard.MarkAllProcessed(ctx, ids)
				results <- result{n, err}
			}()
		}
		a, z := <-results, <-results
		if err := errors.Join(a.err, z.err); err != nil || a.n+z.n != 500 {
			t.Fatalf("round %d: %d and %d marked, %v", round, a.n, z.n, err)
		}
	}
}

func TestClaimTxMisuse(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	tx, err := b.pool.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // Only the connection is to be given back.
	if _, err := b.guard.ClaimTx(ctx, nil, "e"); !errors.Is(err, idem.ErrInvalidConfig) {
		t.Errorf("nil transaction: %v", err)
	}
	if _, err := b.guard.ClaimTx(ctx, tx, "e", nil); !errors.Is(err, idem.ErrInvalidConfig) {
		t.Errorf("nil option: %v", err)
	}
}

// The first call of ClaimTx registers the consumer in the caller's transaction, and again after that
// is rolled back.
func TestClaimTxRegisters(t *testing.T) {
	t.Parallel()
	b := setup(t)
	registered := func() (n int) {
		if err := b.pool.QueryRow(t.Context(), `SELECT count(*) FROM idem.consumers`).Scan(&n); err != nil {
			t.Fatal(err)
		}

		return n
	}
	for _, commit := range []bool{false, true} {
		tx, err := b.pool.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		claim, err := b.guard.ClaimTx(t.Context(), tx, "e")
		if err != nil || !claim.New {
			t.Fatalf("ClaimTx: %+v, %v", claim, err)
		}
		end := tx.Rollback
		if commit {
			end = tx.Commit
		}
		if err := end(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := registered(); n != map[bool]int{true: 1}[commit] {
			t.Errorf("committed %v: %d consumers are registered", commit, n)
		}
	}
	if ok, err := b.guard.IsProcessed(t.Context(), "e"); !ok || err != nil {
		t.Errorf("processed: %v, %v", ok, err)
	}
}

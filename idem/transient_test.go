package idem_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
)

const attempts = 3

// impatient is a guard that tries attempts times and hardly waits in between.
func (b *bundle) impatient(t *testing.T) *idem.Guard {
	t.Helper()

	return newGuard(t, b.pool, idem.Config{
		Consumer: "orders", Retry: idem.RetryPolicy{MaxAttempts: attempts, InitialBackoff: time.Microsecond},
	})
}

func raise(ctx context.Context, tx pgx.Tx, code string) error {
	_, err := tx.Exec(ctx, fmt.Sprintf(`DO $$ BEGIN RAISE EXCEPTION 'raised' USING ERRCODE = '%s'; END $$`, code))

	return err
}

// The verdict on every SQLSTATE of which the documentation speaks, raised by a handler.
func TestSQLStatesOfHandlers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	guard := b.impatient(t)
	for codes, transient := range map[string]bool{
		"08000 08001 08003 08004 08006 08P01 40001 40P01 53000 53100 53200 53300 53400 57P01 57P02 57P03 57P04 57P05":                         true,
		"0A000 22012 23505 23503 23514 25006 25P02 25P03 25P04 26000 28P01 40002 40003 42501 42P01 42703 55P03 57000 57014 58030 P0001 XX000": false,
	} {
		for code := range strings.FieldsSeq(codes) {
			for name, fail := range map[string]idem.Handler{
				"returned": func(ctx context.Context, tx pgx.Tx) error { return raise(ctx, tx, code) },
				"wrapped": func(ctx context.Context, tx pgx.Tx) error {
					return fmt.Errorf("business: %w", errors.Join(errBoom, raise(ctx, tx, code)))
				},
				"from a savepoint": func(ctx context.Context, tx pgx.Tx) error {
					return pgx.BeginFunc(ctx, tx, func(inner pgx.Tx) error { return raise(ctx, inner, code) })
				},
			} {
				runs := 0
				outcome, err := guard.ProcessIfNew(t.Context(), code, func(ctx context.Context, tx pgx.Tx) error {
					runs++

					return fail(ctx, tx)
				})
				wantRuns := map[bool]int{true: attempts, false: 1}[transient]
				var handlerErr *idem.HandlerError
				if outcome != 0 || !errors.As(err, &handlerErr) || idem.IsTransient(err) != transient || runs != wantRuns {
					t.Errorf("%s, %s: %v, %v after %d runs; want transient %v", code, name, outcome, err, runs, transient)
				}
				if said := strings.Contains(err.Error(), "after 3 attempts"); said != transient {
					t.Errorf("%s, %s: the error says %q", code, name, err)
				}
			}
			b.wantProcessed(t, code, false)
		}
	}
}

func TestRetriesEndWithSuccess(t *testing.T) {
	t.Parallel()
	b := setup(t)
	runs := 0
	outcome, err := b.impatient(t).ProcessIfNew(t.Context(), "e", func(ctx context.Context, tx pgx.Tx) error {
		if runs++; runs < attempts {
			return errors.Join(effect("e")(ctx, tx), raise(ctx, tx, "40001"))
		}

		return effect("e")(ctx, tx)
	})
	want(t, "the last attempt", outcome, err, idem.Processed)
	b.wantProcessed(t, "e", true)
	if runs != attempts {
		t.Errorf("%d runs", runs)
	}
}

// What a handler hears from other systems is its own, unless it says otherwise, but SQLSTATEs mean the same
// everywhere.
func TestErrorsOfAnotherDatabase(t *testing.T) {
	t.Parallel()
	b, other := setup(t), setup(t)
	for name, c := range map[string]struct {
		fail     func(ctx context.Context) error
		wantRuns int
	}{
		"refused": {unreachable(t).Ping, 1},
		"lost": {func(ctx context.Context) error {
			_, err := other.pool.Exec(ctx, "SELECT pg_catalog.pg_terminate_backend(pg_backend_pid())")

			return err
		}, attempts},
		"serialization failure": {func(ctx context.Context) error {
			return pgx.BeginFunc(ctx, other.pool, func(tx pgx.Tx) error { return raise(ctx, tx, "40001") })
		}, attempts},
		"said to be transient": {func(context.Context) error { return fmt.Errorf("ask: %w", idem.Transient(errBoom)) }, attempts},
		"no error":             {func(context.Context) error { return idem.Transient(nil) }, 1},
	} {
		runs := 0
		_, err := b.impatient(t).ProcessIfNew(t.Context(), name, func(ctx context.Context, _ pgx.Tx) error {
			runs++

			return c.fail(ctx)
		})
		if runs != c.wantRuns || idem.IsTransient(err) != (c.wantRuns > 1) {
			t.Errorf("%s: %v after %d runs, want %d", name, err, runs, c.wantRuns)
		}
	}
}

// A cached plan that a change of the table made useless fails once in each connection.
func TestTableChangesUnderCachedPlans(t *testing.T) {
	t.Parallel()
	b := setup(t)
	guard := b.impatient(t)
	runs := 0
	read := func(ctx context.Context, tx pgx.Tx) error {
		runs++
		rows, err := tx.Query(ctx, "TABLE public.effects LIMIT $1", 1)
		if err != nil {
			return err
		}
		rows.Close()

		return rows.Err()
	}
	outcome, err := guard.ProcessIfNew(t.Context(), "before", read)
	want(t, "before", outcome, err, idem.Processed)
	b.exec(t, `ALTER TABLE public.effects ADD COLUMN more int`)
	b.exec(t, `ALTER TABLE idem.processed_events ADD COLUMN more int`)
	b.exec(t, `ALTER TABLE idem.consumers ADD COLUMN more int`)
	outcome, err = guard.ProcessIfNew(t.Context(), "after", read)
	want(t, "after", outcome, err, idem.Processed)
	if runs != 3 {
		t.Errorf("%d runs, want 1 and 2", runs)
	}
	if _, err := guard.Lookup(t.Context(), "after"); err != nil { // Its plan is not cached yet.
		t.Error(err)
	}
}

// Under REPEATABLE READ a claim that was committed after the snapshot cannot be seen, so it
// must not be taken for none: the caller begins anew.
func TestDuplicateCommittedAfterTheSnapshot(t *testing.T) {
	t.Parallel()
	for _, level := range isolationLevels {
		t.Run(string(level), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			ctx := t.Context()
			if err := b.guard.Register(ctx); err != nil {
				t.Fatal(err)
			}
			tx, err := b.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: level})
			if err != nil {
				t.Fatal(err)
			}
			defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // Only the connection is to be given back.
			if _, err := tx.Exec(ctx, "SELECT FROM public.effects"); err != nil {
				t.Fatal(err)
			}
			outcome, err := b.guard.ProcessIfNew(ctx, "e", effect("e"))
			want(t, "the duplicate", outcome, err, idem.Processed)

			claim, err := b.guard.ClaimTx(ctx, tx, "e")
			if level == pgx.ReadCommitted {
				if err != nil || claim.New {
					t.Errorf("got %+v, %v; want that the event is processed", claim, err)
				}
			} else if !idem.IsTransient(err) || !strings.Contains(err.Error(), "40001") {
				t.Errorf("got %+v, %v; want a serialization failure", claim, err)
			}
		})
	}
}

package idem_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nova-events/idempotent-consumer/idem"
)

func TestProcessIfNew(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, id := range []string{"order-1", "0190b5a5-7e4c-7000-8000-000000000001", "Straße ' \\ \n \U0001F600", strings.Repeat("x", idem.MaxEventIDBytes)} {
		got, err := b.guard.ProcessIfNew(t.Context(), id, effect(id))
		want(t, "first", got, err, idem.Processed)
		got, err = b.guard.ProcessIfNew(t.Context(), id, effect(id))
		want(t, "second", got, err, idem.AlreadyProcessed)
		b.wantProcessed(t, id, true)
	}
}

func TestConsumersAreIndependent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := newGuard(t, b.pool, idem.Config{Consumer: "mails"})
	got, err := b.guard.ProcessIfNew(t.Context(), "e", effect("e"))
	want(t, "orders", got, err, idem.Processed)
	got, err = other.ProcessIfNew(t.Context(), "e", effect("e"))
	want(t, "mails", got, err, idem.Processed)
}

func TestHandlerErrorRollsBackAndIsWrapped(t *testing.T) {
	t.Parallel()
	b := setup(t)
	outcome, err := b.guard.ProcessIfNew(t.Context(), "e", func(ctx context.Context, tx pgx.Tx) error {
		return errors.Join(effect("e")(ctx, tx), errBoom)
	})
	var handlerErr *idem.HandlerError
	if outcome != 0 || !errors.Is(err, errBoom) || !errors.As(err, &handlerErr) || handlerErr.EventID != "e" {
		t.Fatalf("got %v, %v", outcome, err)
	}
	if idem.IsTransient(err) {
		t.Fatal("a handler's own error must not count as transient")
	}
	b.wantProcessed(t, "e", false)
	got, err := b.guard.ProcessIfNew(t.Context(), "e", effect("e"))
	want(t, "after the failure", got, err, idem.Processed)
	b.wantProcessed(t, "e", true)
}

func TestHandlerThatDoesNotReturn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for name, end := range map[string]func(){
		"panic":  func() { panic(errBoom) },
		"goexit": runtime.Goexit,
	} {
		recovered := make(chan any)
		go func() {
			defer func() { recovered <- recover() }()
			_, _ = b.guard.ProcessIfNew(t.Context(), name, func(ctx context.Context, tx pgx.Tx) error {
				if err := effect(name)(ctx, tx); err != nil {
					return err
				}
				end()

				return nil
			})
		}()
		if got := <-recovered; (got == any(errBoom)) != (name == "panic") {
			t.Fatalf("%s: recovered %v", name, got)
		}
		b.wantProcessed(t, name, false)
	}
	if n := b.pool.Stat().AcquiredConns(); n != 0 {
		t.Fatalf("%d connections were not given back", n)
	}
}

func TestHandlerCannotEndTheTransaction(t *testing.T) {
	t.Parallel()
	b := setup(t)
	got, err := b.guard.ProcessIfNew(t.Context(), "methods", func(ctx context.Context, tx pgx.Tx) error {
		if err := tx.Commit(ctx); !errors.Is(err, idem.ErrHandlerTx) {
			t.Errorf("Commit: %v", err)
		}
		if err := tx.Rollback(ctx); !errors.Is(err, idem.ErrHandlerTx) {
			t.Errorf("Rollback: %v", err)
		}

		return effect("methods")(ctx, tx)
	})
	want(t, "methods", got, err, idem.Processed)
	b.wantProcessed(t, "methods", true)

	for _, sql := range []string{"ROLLBACK", "COMMIT"} {
		outcome, err := b.guard.ProcessIfNew(t.Context(), sql, func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, sql)

			return err
		})
		if outcome != 0 || !errors.Is(err, idem.ErrHandlerTx) {
			t.Fatalf("%s by SQL: got %v, %v", sql, outcome, err)
		}
	}
}

func TestHandlerSavepoints(t *testing.T) {
	t.Parallel()
	b := setup(t)
	got, err := b.guard.ProcessIfNew(t.Context(), "e", func(ctx context.Context, tx pgx.Tx) error {
		err := pgx.BeginFunc(ctx, tx, func(inner pgx.Tx) error {
			return errors.Join(effect("undone")(ctx, inner), errBoom)
		})
		if !errors.Is(err, errBoom) {
			t.Errorf("savepoint: %v", err)
		}

		return effect("e")(ctx, tx)
	})
	want(t, "e", got, err, idem.Processed)
	if b.effects(t, "undone") != 0 {
		t.Fatal("what the savepoint undid took effect")
	}
}

// PostgreSQL answers COMMIT of an aborted transaction with ROLLBACK and no error: a handler
// that overlooks a failed statement must not pass for success.
func TestOverlookedSQLError(t *testing.T) {
	t.Parallel()
	b := setup(t)
	outcome, err := b.guard.ProcessIfNew(t.Context(), "e", func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT 1/0"); err == nil {
			t.Error("no error")
		}

		return nil
	})
	var handlerErr *idem.HandlerError
	if outcome != 0 || !errors.As(err, &handlerErr) || !errors.Is(err, pgx.ErrTxCommitRollback) {
		t.Fatalf("got %v, %v", outcome, err)
	}
	b.wantProcessed(t, "e", false)
}

func TestDeferredConstraintFailsAtCommit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, `CREATE TABLE public.parents (id int PRIMARY KEY)`)
	b.exec(t, `CREATE TABLE public.children (id int REFERENCES public.parents DEFERRABLE INITIALLY DEFERRED)`)
	outcome, err := b.guard.ProcessIfNew(t.Context(), "e", func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO public.children VALUES (1)`)

		return err
	})
	var (
		handlerErr *idem.HandlerError
		pgErr      *pgconn.PgError
	)
	if outcome != 0 || !errors.As(err, &handlerErr) || !errors.As(err, &pgErr) || pgErr.Code != "23503" || idem.IsTransient(err) {
		t.Fatalf("got %v, %v", outcome, err)
	}
	b.wantProcessed(t, "e", false)
}

func TestContextThatEndsInTheHandler(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx, cancel := context.WithCancel(t.Context())
	outcome, err := b.guard.ProcessIfNew(ctx, "e", func(ctx context.Context, tx pgx.Tx) error {
		defer cancel()

		return effect("e")(ctx, tx)
	})
	if outcome != 0 || !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, %v", outcome, err)
	}
	b.wantProcessed(t, "e", false)
	if n := b.pool.Stat().AcquiredConns(); n != 0 {
		t.Fatalf("%d connections were not given back", n)
	}
}

// A time limit of the handler's own kills the connection but is no fault of the
// infrastructure: it must come back at once.
func TestHandlersOwnTimeoutIsNotRetried(t *testing.T) {
	t.Parallel()
	b := setup(t)
	runs := 0
	outcome, err := b.guard.ProcessIfNew(t.Context(), "e", func(ctx context.Context, tx pgx.Tx) error {
		runs++
		ctx, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		defer cancel()
		_, err := tx.Exec(ctx, `SELECT pg_sleep(10)`)

		return err
	})
	if outcome != 0 || !errors.Is(err, context.DeadlineExceeded) || idem.IsTransient(err) || runs != 1 {
		t.Fatalf("got %v, %v after %d runs", outcome, err, runs)
	}
}

func TestMarkLookupForget(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	if _, err := b.guard.Lookup(ctx, "e"); !errors.Is(err, idem.ErrNotFound) {
		t.Fatalf("Lookup of an unknown event: %v", err)
	}
	before := time.Now()
	got, err := b.guard.MarkProcessed(ctx, "e")
	want(t, "mark", got, err, idem.Processed)
	got, err = b.guard.MarkProcessed(ctx, "e")
	want(t, "mark again", got, err, idem.AlreadyProcessed)

	record, err := b.guard.Lookup(ctx, "e")
	if err != nil || record.EventID != "e" || record.Key != idem.Key("e") || record.ClaimID.Version() != 7 || record.Metadata != nil {
		t.Fatalf("Lookup: %+v, %v", record, err)
	}
	if d := record.ProcessedAt.Sub(before).Abs(); d > time.Minute {
		t.Fatalf("ProcessedAt is %v off", d)
	}

	ids := make([]string, 2500)
	for i := range ids {
		ids[i] = strings.Repeat("i", i+1)
	}
	n, err := b.guard.MarkAllProcessed(ctx, slices.Concat(ids, []string{ids[0], "e"}))
	if n != 2500 || err != nil {
		t.Fatalf("MarkAllProcessed: %d, %v", n, err)
	}
	n, err = b.guard.Forget(ctx, slices.Concat(ids, []string{"e", "unknown"})...)
	if n != 2501 || err != nil {
		t.Fatalf("Forget: %d, %v", n, err)
	}
	got, err = b.guard.ProcessIfNew(ctx, "e", effect("e"))
	want(t, "after Forget", got, err, idem.Processed)
}

func TestInvalidEventIDs(t *testing.T) {
	t.Parallel()
	guard := newGuard(t, unreachable(t), idem.Config{Consumer: "orders"}) // No I/O may be tried.
	for reason, id := range map[string]string{
		"empty": "", "NUL": "a\x00b", "UTF-8": "\xff\xfe", "bytes": strings.Repeat("x", idem.MaxEventIDBytes+1),
	} {
		_, processErr := guard.ProcessIfNew(t.Context(), id, effect(id))
		_, claimErr := guard.ClaimTx(t.Context(), struct{ pgx.Tx }{}, id)
		_, lookupErr := guard.Lookup(t.Context(), id)
		_, isErr := guard.IsProcessed(t.Context(), id)
		_, markErr := guard.MarkProcessed(t.Context(), id)
		_, markAllErr := guard.MarkAllProcessed(t.Context(), []string{"good", id})
		_, forgetErr := guard.Forget(t.Context(), "good", id)
		_, resolveErr := guard.Resolve(t.Context(), idem.Claim{EventID: id})
		for _, err := range []error{processErr, claimErr, lookupErr, isErr, markErr, markAllErr, forgetErr, resolveErr} {
			if !errors.Is(err, idem.ErrInvalidEventID) || !strings.Contains(err.Error(), reason) || idem.IsTransient(err) {
				t.Errorf("%s: %v", reason, err)
			}
		}
	}
}

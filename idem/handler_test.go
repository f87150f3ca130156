package idem_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// A handler that forgets to close its rows has failed, and does so on every try.
func TestHandlerThatLeavesAQueryOpen(t *testing.T) {
	t.Parallel()
	b := setup(t)
	guard := b.impatient(t)
	for name, end := range map[string]func() error{
		"success": func() error { return nil },
		"error":   func() error { return errBoom },
		"panic":   func() error { panic(errBoom) },
	} {
		runs := 0
		var err error
		func() {
			defer func() {
				if value := recover(); value != nil {
					err, _ = value.(error)
				}
			}()
			_, err = guard.ProcessIfNew(t.Context(), name, func(ctx context.Context, tx pgx.Tx) error {
				runs++
				if err := effect(name)(ctx, tx); err != nil {
					return err
				}
				_, err := tx.Query(ctx, "SELECT generate_series(1, 10)") //nolint:sqlclosecheck // It is what the test is about.
				if err != nil {
					return err
				}

				return end()
			})
		}()
		if name == "success" && (err == nil || !strings.Contains(err.Error(), "close its rows")) || name != "success" && !errors.Is(err, errBoom) {
			t.Errorf("%s: %v", name, err)
		}
		if runs != 1 || idem.IsTransient(err) {
			t.Errorf("%s: %v after %d runs", name, err, runs)
		}
		b.wantProcessed(t, name, false)
	}
	if n := b.pool.Stat().AcquiredConns(); n != 0 {
		t.Errorf("%d connections were not given back", n)
	}
}

// Once the handler has ended the transaction, another try would find the claim committed and
// say that all is well. So there is none.
func TestHandlerThatEndsTheTransactionByItsConnection(t *testing.T) {
	t.Parallel()
	b := setup(t)
	guard := b.impatient(t)
	for _, end := range []string{"COMMIT", "ROLLBACK"} {
		for code, transient := range map[string]bool{"40001": true, "23505": false, "": false} {
			runs := 0
			id := end + code
			outcome, err := guard.ProcessIfNew(t.Context(), id, func(ctx context.Context, tx pgx.Tx) error {
				runs++
				if _, err := tx.Conn().Exec(ctx, end); err != nil || code == "" {
					return err
				}

				return raise(ctx, tx, code)
			})
			if outcome != 0 || !errors.Is(err, idem.ErrHandlerTx) || idem.IsTransient(err) || runs != 1 {
				t.Errorf("%s (transient: %v): %v, %v after %d runs", id, transient, outcome, err, runs)
			}
			if !strings.Contains(fmt.Sprint(err), code) {
				t.Errorf("%s: the handler's own error is missing in %v", id, err)
			}
		}
	}
}

// A statement that would end the transaction is not sent, whichever way it is to go. Savepoints are the
// handler's own.
func TestHandlerCannotEndTheTransactionBySQL(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for name, end := range map[string]func(ctx context.Context, tx pgx.Tx) error{
		"Exec": func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "COMMIT AND CHAIN")

			return err
		},
		"Query": func(ctx context.Context, tx pgx.Tx) error {
			rows, err := tx.Query(ctx, "rollback")
			if err == nil {
				rows.Close()
			}

			return err
		},
		"QueryRow": func(ctx context.Context, tx pgx.Tx) error { return tx.QueryRow(ctx, "END").Scan() },
		"Prepare": func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Prepare(ctx, "end", "/* now */ COMMIT")

			return err
		},
		"batch": func(ctx context.Context, tx pgx.Tx) error {
			batch := &pgx.Batch{}
			batch.Queue("SELECT 1")
			batch.Queue("COMMIT")

			return tx.SendBatch(ctx, batch).Close()
		},
		"several": func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "SELECT 1; ROLLBACK; BEGIN", pgx.QueryExecModeSimpleProtocol)

			return err
		},
		"savepoint": func(ctx context.Context, tx pgx.Tx) error {
			inner, err := tx.Begin(ctx)
			if err != nil {
				return err
			}
			_, err = inner.Exec(ctx, "ABORT")

			return errors.Join(err, inner.Commit(ctx))
		},
	} {
		attempt := func(id string, then error) (idem.Outcome, error) {
			return b.guard.ProcessIfNew(t.Context(), id, func(ctx context.Context, tx pgx.Tx) error {
				if err := effect(id)(ctx, tx); err != nil {
					return err
				}
				if err := end(ctx, tx); !errors.Is(err, idem.ErrHandlerTx) {
					t.Errorf("%s: %v", id, err)
				}

				return then
			})
		}
		if outcome, err := attempt(name, errBoom); outcome != 0 || !errors.Is(err, errBoom) || errors.Is(err, idem.ErrHandlerTx) {
			t.Errorf("%s: got %v, %v", name, outcome, err)
		}
		b.wantProcessed(t, name, false)
		if outcome, err := attempt(name, nil); outcome != idem.Processed || err != nil {
			t.Errorf("%s, ignored: got %v, %v", name, outcome, err)
		}
		b.wantProcessed(t, name, true)
	}
}

// The duration is recorded by one more statement, which fails in an aborted transaction. The
// fault is the handler's all the same.
func TestOverlookedErrorWithDuration(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.guard.ProcessIfNew(t.Context(), "e", func(ctx context.Context, tx pgx.Tx) error {
		_, _ = tx.Exec(ctx, "SELECT 1/0")

		return nil
	}, idem.WithHandlerDuration())
	var handlerErr *idem.HandlerError
	if !errors.As(err, &handlerErr) || !strings.Contains(err.Error(), "did not return its error") {
		t.Errorf("got %v", err)
	}
	b.wantProcessed(t, "e", false)
}

// A handler may claim further events, and whatever that fails with is judged alike.
func TestHandlerClaimsAnotherEvent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	guard := b.impatient(t)
	outcome, err := guard.ProcessIfNew(t.Context(), "outer", func(ctx context.Context, tx pgx.Tx) error {
		if claim, err := guard.ClaimTx(ctx, tx, "inner"); err != nil || !claim.New {
			t.Errorf("%+v, %v", claim, err)
		}

		return nil
	})
	want(t, "outer", outcome, err, idem.Processed)
	outcome, err = guard.MarkProcessed(t.Context(), "inner")
	want(t, "inner", outcome, err, idem.AlreadyProcessed)

	holder, err := b.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Rollback(context.WithoutCancel(t.Context())) //nolint:errcheck // It is for the case that the handler did not.
	if _, err := guard.ClaimTx(t.Context(), holder, "held"); err != nil {
		t.Fatal(err)
	}
	runs := 0
	_, err = guard.ProcessIfNew(t.Context(), "waits", func(ctx context.Context, tx pgx.Tx) error {
		if runs++; runs == attempts {
			if err := holder.Rollback(ctx); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '20ms'"); err != nil {
			return err
		}
		_, err := guard.ClaimTx(ctx, tx, "held")

		return err
	})
	if err != nil || runs != attempts {
		t.Errorf("%v after %d runs", err, runs)
	}
}

// A handler that works for a tenant kept the guard from storing its duration: permission denied.
func TestHandlerThatSetsItsRole(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			tenant := b.db.Name + "_tenant"
			b.exec(t, "CREATE ROLE "+tenant+" ROLE "+b.pool.Config().ConnConfig.User)
			b.exec(t, "GRANT INSERT ON public.effects TO "+tenant)
			b.exec(t, `CREATE TABLE public.deferred (role text)`)
			b.exec(t, `GRANT INSERT ON public.deferred TO `+tenant)
			b.exec(t, `CREATE FUNCTION public.note_role() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.deferred VALUES (current_user); RETURN NULL; END $$`)
			b.exec(t, `CREATE CONSTRAINT TRIGGER note_role AFTER INSERT ON public.effects DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.note_role()`)
			t.Cleanup(func() {
				if _, err := b.owner.Exec(context.Background(), "DROP OWNED BY "+tenant); err != nil {
					t.Error(err)
				}
				if _, err := b.owner.Exec(context.Background(), "DROP ROLE "+tenant); err != nil {
					t.Error(err)
				}
			})
			guard := newGuard(t, b.db.Pool(t, pgtest.ExecMode(mode.QueryExecMode), pgtest.Hostile()), idem.Config{Consumer: "orders"})
			outcome, err := acquire(t, guard).Process(t.Context(), idem.Event{ID: "e", Offset: 0}, func(ctx context.Context, tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, "SET LOCAL ROLE "+tenant); err != nil {
					return err
				}

				return effect("e")(ctx, tx)
			}, idem.WithHandlerDuration())
			want(t, "in the role of a tenant", outcome, err, idem.Processed)
			record, err := guard.Lookup(t.Context(), "e")
			if err != nil || !strings.Contains(string(record.Metadata), "handler_ms") {
				t.Errorf("%s, %v", record.Metadata, err)
			}
			var role string
			if err := b.pool.QueryRow(t.Context(), "SELECT role FROM public.deferred").Scan(&role); err != nil || role != tenant {
				t.Errorf("the deferred trigger ran as %q, %v; want the handler's role", role, err)
			}
		})
	}
}

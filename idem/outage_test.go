package idem_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgserver"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/schema"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

// once runs fault in the first run of a handler, after its effect.
func once(eventID string, fault func(ctx context.Context, tx pgx.Tx) error) (handler idem.Handler, runs *int) {
	runs = new(int)

	return func(ctx context.Context, tx pgx.Tx) error {
		*runs++
		if err := effect(eventID)(ctx, tx); err != nil || *runs > 1 {
			return err
		}

		return fault(ctx, tx)
	}, runs
}

func TestConnectionLostInTheHandler(t *testing.T) {
	t.Parallel()
	b := setup(t)
	terminate := func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "SELECT pg_catalog.pg_terminate_backend(pg_backend_pid())")

		return err
	}
	for name, fault := range map[string]func(ctx context.Context, tx pgx.Tx) error{
		"returned": terminate,
		"overlooked": func(ctx context.Context, tx pgx.Tx) error {
			_ = terminate(ctx, tx)

			return nil
		},
		"later": func(ctx context.Context, tx pgx.Tx) error {
			_ = terminate(ctx, tx)
			_, err := tx.Exec(ctx, "SELECT 1")

			return err
		},
		"unnoticed": func(ctx context.Context, tx pgx.Tx) error { // until the COMMIT
			_, err := b.pool.Exec(ctx, "SELECT pg_terminate_backend($1, 10000)", tx.Conn().PgConn().PID())

			return err
		},
	} {
		handler, runs := once(name, fault)
		outcome, err := b.impatient(t).ProcessIfNew(t.Context(), name, handler)
		want(t, name, outcome, err, idem.Processed)
		if *runs != 2 {
			t.Errorf("%s: %d runs, want 2", name, *runs)
		}
		b.wantProcessed(t, name, true)
	}
}

func TestSerializationFailureIsRetried(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, `CREATE TABLE public.balance AS SELECT 0 AS n`)
	guard := newGuard(t, b.pool, idem.Config{Consumer: "orders", Isolation: pgx.RepeatableRead, Retry: idem.RetryPolicy{InitialBackoff: time.Microsecond}})
	handler, runs := once("e", func(ctx context.Context, tx pgx.Tx) error {
		b.exec(t, `UPDATE public.balance SET n = n + 1`) //nolint:contextcheck // It is somebody else's.
		_, err := tx.Exec(ctx, `UPDATE public.balance SET n = n + 1`)

		return err
	})
	outcome, err := guard.ProcessIfNew(t.Context(), "e", handler)
	want(t, "e", outcome, err, idem.Processed)
	if *runs != 2 {
		t.Errorf("%d runs, want 2", *runs)
	}
	b.wantProcessed(t, "e", true)
}

func TestDeadlockOfTwoHandlersIsRetried(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, `CREATE TABLE public.accounts AS SELECT id FROM generate_series(0, 1) id`)
	const lock = `SELECT FROM public.accounts WHERE id = $1 FOR UPDATE`
	var met sync.WaitGroup
	met.Add(2)
	errs := make(chan error, 2)
	runs := make([]int, 2)
	for i := range 2 {
		go func() {
			id := strconv.Itoa(i)
			outcome, err := b.guard.ProcessIfNew(t.Context(), id, func(ctx context.Context, tx pgx.Tx) error {
				runs[i]++
				if err := effect(id)(ctx, tx); err != nil {
					return err
				}
				if _, err := tx.Exec(ctx, lock, i); err != nil {
					return err
				}
				if runs[i] == 1 {
					met.Done()
					met.Wait()
				}
				_, err := tx.Exec(ctx, lock, 1-i)

				return err
			})
			if err == nil && outcome != idem.Processed {
				err = fmt.Errorf("outcome %v", outcome)
			}
			errs <- err
		}()
	}
	if err := errors.Join(<-errs, <-errs); err != nil {
		t.Fatal(err)
	}
	if runs[0]+runs[1] < 3 {
		t.Error("there was no deadlock")
	}
	b.wantProcessed(t, "0", true)
	b.wantProcessed(t, "1", true)
}

// The server crashes in the handler and comes back.
func TestServerCrash(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	server, err := pgserver.Start(ctx, pgserver.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	db := &pgtest.DB{Name: "postgres", DSN: server.DSN("postgres")}
	if err := migrate.Up(ctx, db.DSN, schema.DefaultName); err != nil {
		t.Fatal(err)
	}
	b := newBundle(t, db)
	b.exec(t, `CREATE TABLE public.effects (event_id text NOT NULL)`)
	b.guard = newGuard(t, b.pool, idem.Config{Consumer: "orders", Retry: idem.RetryPolicy{MaxAttempts: idem.Unlimited, MaxBackoff: 100 * time.Millisecond}})

	for round := range 3 {
		id := fmt.Sprint("event-", round)
		recovered := make(chan error, 1)
		handler, runs := once(id, func(ctx context.Context, tx pgx.Tx) error {
			server.Crash()
			go func() { recovered <- server.Recover(t.Context()) }() //nolint:contextcheck // It is not the handler's.
			_, err := tx.Exec(ctx, "SELECT 1")

			return err
		})
		outcome, err := b.guard.ProcessIfNew(ctx, id, handler)
		want(t, id, outcome, err, idem.Processed)
		if err := <-recovered; err != nil {
			t.Fatal(err)
		}
		if *runs != 2 {
			t.Errorf("%s: %d runs, want 2", id, *runs)
		}
		b.wantProcessed(t, id, true)
	}
}

func TestConnectionRefused(t *testing.T) {
	t.Parallel()
	guard := newGuard(t, unreachable(t), idem.Config{Consumer: "orders", Retry: idem.RetryPolicy{MaxAttempts: 4, InitialBackoff: time.Microsecond}})
	_, processErr := guard.ProcessIfNew(t.Context(), "e", effect("e"))
	_, lookupErr := guard.Lookup(t.Context(), "e")
	_, cleanErr := guard.CleanupOldEvents(t.Context())
	for _, err := range []error{guard.Register(t.Context()), processErr, lookupErr, cleanErr} {
		if !idem.IsTransient(err) || !strings.Contains(err.Error(), "after 4 attempts") {
			t.Error(err)
		}
	}
}

// After a failover the connections of a pool may lead to a server that became a standby.
func TestServerThatTakesNoWrites(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for name, call := range map[string]func(*idem.Guard) error{
		"ProcessIfNew": func(g *idem.Guard) error {
			_, err := g.ProcessIfNew(t.Context(), "process", effect("process"))

			return err
		},
		"Register": func(g *idem.Guard) error { return g.Register(t.Context()) },
		"MarkAllProcessed": func(g *idem.Guard) error {
			_, err := g.MarkAllProcessed(t.Context(), []string{"mark"})

			return err
		},
	} {
		if name != "Register" { // So that the claim is the first statement that writes.
			if err := newGuard(t, b.pool, idem.Config{Consumer: name}).Register(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		// The sessions of the pool take no writes, those made later do.
		pool := b.db.Pool(t, pgtest.MaxConns(1), func(config *pgxpool.Config) {
			first := true
			config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
				if !first {
					return nil
				}
				first = false
				_, err := conn.Exec(ctx, "SET default_transaction_read_only = on")

				return err
			}
		})
		if err := pool.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		guard := newGuard(t, pool, idem.Config{Consumer: name, Retry: idem.RetryPolicy{MaxAttempts: 2, InitialBackoff: time.Microsecond}})
		if err := call(guard); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLimitsOfTimeOnTheClaim(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if err := b.guard.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, limit := range []string{"lock_timeout", "statement_timeout"} {
		tx, err := b.pool.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.guard.ClaimTx(t.Context(), tx, limit); err != nil {
			t.Fatal(err)
		}
		pool := b.db.Pool(t, func(config *pgxpool.Config) { config.ConnConfig.RuntimeParams[limit] = "200" })
		guard := newGuard(t, pool, idem.Config{Consumer: "orders", Retry: idem.RetryPolicy{MaxAttempts: 2, InitialBackoff: time.Microsecond}})
		_, err = guard.ProcessIfNew(t.Context(), limit, effect(limit))
		var handlerErr *idem.HandlerError
		if !idem.IsTransient(err) || errors.As(err, &handlerErr) || !strings.Contains(err.Error(), "after 2 attempts") {
			t.Errorf("%s: %v", limit, err)
		}
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
		outcome, err := guard.ProcessIfNew(t.Context(), limit, effect(limit))
		want(t, limit, outcome, err, idem.Processed)
	}
}

// A handler that lets its transaction grow too old is at fault itself, whether the server's
// verdict meets its next statement or the COMMIT.
func TestLimitsOfTimeOnTheTransaction(t *testing.T) {
	t.Parallel()
	b := setup(t)
	limits := []string{"idle_in_transaction_session_timeout"}
	var version int
	if err := b.pool.QueryRow(t.Context(), "SELECT current_setting('server_version_num')::int").Scan(&version); err != nil {
		t.Fatal(err)
	}
	if version >= 170000 {
		limits = append(limits, "transaction_timeout")
	}
	for _, limit := range limits {
		for name, after := range map[string]idem.Handler{
			"statement": func(ctx context.Context, tx pgx.Tx) error {
				_, err := tx.Exec(ctx, "SELECT 1")

				return err
			},
			"COMMIT": func(context.Context, pgx.Tx) error { return nil },
		} {
			runs := 0
			outcome, err := b.guard.ProcessIfNew(t.Context(), limit, func(ctx context.Context, tx pgx.Tx) error {
				runs++
				if _, err := tx.Exec(ctx, "SET LOCAL "+limit+" = '20ms'"); err != nil {
					return err
				}
				b.waitUntil(t, "NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)", tx.Conn().PgConn().PID()) //nolint:contextcheck // The helper uses the test's.

				return after(ctx, tx)
			})
			var handlerErr *idem.HandlerError
			if outcome != 0 || !errors.As(err, &handlerErr) || idem.IsTransient(err) || runs != 1 {
				t.Errorf("%s at the %s: %v, %v after %d runs", limit, name, outcome, err, runs)
			}
			b.wantProcessed(t, limit, false)
		}
	}
}

// A context that ends in a pause ends the call at once.
func TestContextThatEndsInAPause(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	guard := newGuard(t, b.pool, idem.Config{
		Consumer: "orders",
		Retry:    idem.RetryPolicy{InitialBackoff: time.Hour},
		Logger:   slog.New(slog.NewTextHandler(writer(func() { cancel(errBoom) }), nil)),
	})
	runs := 0
	outcome, err := guard.ProcessIfNew(ctx, "e", func(ctx context.Context, tx pgx.Tx) error {
		runs++

		return raise(ctx, tx, "40001")
	})
	if outcome != 0 || !errors.Is(err, context.Canceled) || !errors.Is(err, errBoom) || !strings.Contains(err.Error(), "40001") || runs != 1 {
		t.Fatalf("got %v, %v after %d runs; want the context's error, its cause and what went wrong before", outcome, err, runs)
	}
}

// writer calls itself when something is written to it.
type writer func()

func (w writer) Write(p []byte) (int, error) {
	w()

	return len(p), nil
}

var _ io.Writer = writer(nil)

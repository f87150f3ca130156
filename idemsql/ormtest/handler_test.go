package ormtest_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// A handler that ends its transaction gets an error, and is not run again: the claim may be committed.
func TestHandlerEndsItsTransaction(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(ctx context.Context, tx *sql.Tx) error{
		"Commit":   func(_ context.Context, tx *sql.Tx) error { return tx.Commit() },
		"Rollback": func(_ context.Context, tx *sql.Tx) error { return tx.Rollback() },
		"commit as a statement": func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, `COMMIT`)

			return err
		},
		"rollback as a statement": func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, `ROLLBACK`)

			return err
		},
		"begun again": func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, `ROLLBACK`)
			_, beginErr := tx.ExecContext(ctx, `BEGIN`)

			return errors.Join(err, beginErr)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachDriver(t, func(t *testing.T, b *bundle) {
				for _, returned := range []error{nil, errBoom} {
					runs := 0
					outcome, err := b.guard.ProcessIfNew(t.Context(), "a", func(ctx context.Context, tx *sql.Tx) error {
						runs++
						if err := end(ctx, tx); err != nil {
							t.Error(err)
						}

						return returned
					})
					var handlerErr *idem.HandlerError
					if outcome != 0 || !errors.As(err, &handlerErr) || !errors.Is(err, idem.ErrHandlerTx) || !errors.Is(err, returned) && returned != nil || runs != 1 {
						t.Fatalf("got %v, %v after %d runs; want ErrHandlerTx", outcome, err, runs)
					}
					b.exec(t, `DELETE FROM idem.processed_events`)
				}
			})
		})
	}
}

func TestHandlerLeavesAQueryOpen(t *testing.T) {
	t.Parallel()
	eachDriver(t, func(t *testing.T, b *bundle) {
		for _, count := range []int{1, 100_000} { // of which it reads one
			id, runs := strconv.Itoa(count), 0
			outcome, err := b.guard.ProcessIfNew(t.Context(), id, func(ctx context.Context, tx *sql.Tx) error {
				runs++
				rows, err := tx.QueryContext(ctx, `SELECT g FROM generate_series(1, `+id+`) g`) //nolint:gosec,rowserrcheck,sqlclosecheck // That is what it is about.
				if err == nil {
					rows.Next()
				}

				return err
			})
			var handlerErr *idem.HandlerError
			if outcome != 0 || !errors.As(err, &handlerErr) || runs != 1 {
				t.Fatalf("got %v, %v after %d runs; want a HandlerError", outcome, err, runs)
			}
			t.Log(err)
			b.wantProcessed(t, id, false)
			for _, wanted := range []idem.Outcome{idem.Processed, idem.AlreadyProcessed, idem.AlreadyProcessed} { // The connections are good, or gone.
				outcome, err = b.guard.ProcessIfNew(t.Context(), id, b.handler(id))
				want(t, id, outcome, err, wanted)
			}
			b.wantProcessed(t, id, true)
		}
	})
}

// What a handler does to its session is neither in the way of the COMMIT nor of the next transaction.
func TestHandlerChangesItsSession(t *testing.T) {
	t.Parallel()
	eachDriver(t, func(t *testing.T, b *bundle) {
		b.exec(t, `CREATE ROLE `+b.database.Name)
		t.Cleanup(func() {
			_, err := b.direct.ExecContext(context.Background(), `DROP ROLE `+b.database.Name)
			if err != nil {
				t.Error(err)
			}
		})
		for _, id := range []string{"a", "b"} {
			outcome, err := b.guard.ProcessIfNew(t.Context(), id, func(ctx context.Context, tx *sql.Tx) error {
				if err := b.insert(ctx, tx, id); err != nil {
					return err
				}
				_, err := tx.ExecContext(ctx, `CREATE TABLE public.`+id+` (); SET LOCAL search_path = ''; SET LOCAL ROLE `+b.database.Name)

				return err
			}, idem.WithHandlerDuration())
			want(t, id, outcome, err, idem.Processed)
			b.wantProcessed(t, id, true)
		}
	})
}

func TestHandlerExits(t *testing.T) {
	t.Parallel()
	eachDriver(t, func(t *testing.T, b *bundle) {
		var kept *sql.Tx
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = b.guard.ProcessIfNew(t.Context(), "a", func(ctx context.Context, tx *sql.Tx) error {
				kept = tx
				_ = b.insert(ctx, tx, "a")
				runtime.Goexit()

				return nil
			})
		}()
		<-done
		b.wantProcessed(t, "a", false)
		if err := b.insert(t.Context(), kept, "a"); !errors.Is(err, sql.ErrTxDone) {
			t.Errorf("the transaction after its end: %v", err)
		}
		if n := b.db.Stats().InUse; n != 0 {
			t.Errorf("%d connections are in use", n)
		}
	})
}

// A context that ends in a statement is the handler's error. (pgdriver goes on with the statement.)
func TestContextEndsInAStatement(t *testing.T) {
	t.Parallel()
	eachOf(t, []string{"pgx", "pq"}, func(t *testing.T, b *bundle) {
		ctx, cancel := context.WithCancel(t.Context())
		runs := 0
		outcome, err := b.guard.ProcessIfNew(ctx, "a", func(ctx context.Context, tx *sql.Tx) error {
			runs++
			go func() { //nolint:contextcheck // Until then its context must not end.
				_ = b.waitUntil(t.Context(), `EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database())`)
				cancel()
			}()
			_, err := tx.ExecContext(ctx, `SELECT pg_sleep(3600)`)

			return err
		})
		if outcome != 0 || !errors.As(err, new(*idem.HandlerError)) || runs != 1 {
			t.Fatalf("got %v, %v after %d runs; want a HandlerError", outcome, err, runs)
		}
		b.wantProcessed(t, "a", false)
	})
}

// A connection that is lost in the handler is no fault of the handler's.
func TestConnectionLostInTheHandler(t *testing.T) {
	t.Parallel()
	for name, overlooks := range map[string]bool{"reported": false, "overlooked": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachDriver(t, func(t *testing.T, b *bundle) {
				runs := 0
				outcome, err := b.guard.ProcessIfNew(t.Context(), "a", func(ctx context.Context, tx *sql.Tx) error {
					if runs++; runs > 1 {
						return b.insert(ctx, tx, "a")
					}
					_, err := tx.ExecContext(ctx, `SELECT pg_terminate_backend(pg_backend_pid())`)
					if overlooks {
						return nil
					}

					return err
				})
				want(t, "a", outcome, err, idem.Processed)
				b.wantProcessed(t, "a", true)
			})
		})
	}
}

// All connections are gone, as after a failover, and the pool does not know.
func TestStaleConnections(t *testing.T) {
	t.Parallel()
	eachDriver(t, func(t *testing.T, b *bundle) {
		const connections = 12
		b.db.SetMaxIdleConns(connections)
		open := make([]*sql.Conn, connections)
		for i := range open {
			var err error
			if open[i], err = b.db.Conn(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for _, conn := range open {
			if err := conn.Close(); err != nil {
				t.Fatal(err)
			}
		}
		b.exec(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
		outcome, err := b.guard.ProcessIfNew(t.Context(), "a", b.handler("a"))
		want(t, "a", outcome, err, idem.Processed)
		b.wantProcessed(t, "a", true)
	})
}

// A handler that the server stops for its slowness is not run again.
func TestHandlerTakesTooLong(t *testing.T) {
	t.Parallel()
	eachDriver(t, func(t *testing.T, b *bundle) {
		runs := 0
		outcome, err := b.guard.ProcessIfNew(t.Context(), "a", func(ctx context.Context, tx *sql.Tx) error {
			runs++
			var pid int
			if err := tx.QueryRowContext(ctx, `SELECT pg_backend_pid() FROM set_config('idle_in_transaction_session_timeout', '10', true)`).Scan(&pid); err != nil {
				return err
			}

			return b.waitUntil(ctx, fmt.Sprintf(`NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %d)`, pid))
		})
		var handlerErr *idem.HandlerError
		if outcome != 0 || !errors.As(err, &handlerErr) || runs > 1 && !idem.IsTransient(err) {
			t.Fatalf("got %v, %v after %d runs; want a HandlerError", outcome, err, runs)
		}
		t.Logf("%d runs, %v", runs, err)
		b.wantProcessed(t, "a", false)
	})
}

// The search for the outcome of a COMMIT waits for the transaction that may be about to commit.
func TestSlowCommitWithoutAnswer(t *testing.T) {
	t.Parallel()
	eachDriver(t, func(t *testing.T, b *bundle) {
		// pgx cancels what runs on a connection that it gives up. The trigger does not care.
		b.exec(t, `CREATE FUNCTION public.dawdle() RETURNS trigger LANGUAGE plpgsql AS $$
			BEGIN LOOP BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; EXCEPTION WHEN query_canceled THEN END; END LOOP; END $$`)
		b.exec(t, `CREATE CONSTRAINT TRIGGER dawdle AFTER INSERT ON public.effects
			DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.dawdle()`)
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
			holder, err := b.direct.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := holder.ExecContext(t.Context(), `SELECT pg_advisory_lock(1)`); err != nil {
				t.Fatal(err)
			}
			runs := 0
			released := make(chan error, 1)
			b.proxy.CutNextCommit(pgtest.ForwardCommitThenCut)
			go func() {
				// The search waits for the transaction, and that one for the lock, unless the COMMIT did not land: then the
				// second one waits for the lock.
				err := b.waitUntil(t.Context(), `(SELECT count(DISTINCT wait_event) = 2 FROM pg_stat_activity
					WHERE datname = current_database() AND wait_event IN ('advisory', 'transactionid'))
					OR EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory' AND query ~* 'commit' AND application_name = 'second')`)
				_, unlockErr := holder.ExecContext(t.Context(), `SELECT pg_advisory_unlock(1)`)
				released <- errors.Join(err, unlockErr, holder.Close())
			}()
			outcome, err := b.guard.ProcessIfNew(t.Context(), "a", func(ctx context.Context, tx *sql.Tx) error {
				if runs++; runs > 1 {
					if _, err := tx.ExecContext(ctx, `SET LOCAL application_name = 'second'`); err != nil {
						return err
					}
				}

				return b.insert(ctx, tx, "a")
			})
			want(t, "a", outcome, errors.Join(err, <-released), idem.Processed)
			b.wantProcessed(t, "a", true)
			if runs == 1 {
				return
			}
			b.exec(t, `DELETE FROM public.effects`)
			b.exec(t, `DELETE FROM idem.processed_events`)
		}
		t.Error("no COMMIT outlived its connection")
	})
}

package ormtest_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// Ten workers race for each event, half of them in transactions of the library's own.
func TestRace(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		for round := range 10 {
			id := fmt.Sprint("event-", round)
			var workers sync.WaitGroup
			var processed atomic.Int32
			start := make(chan struct{})
			for worker := range 10 {
				workers.Go(func() {
					<-start
					process := b.processIfNew
					if worker%2 == 0 {
						process = b.claimAndWrite
					}
					isNew, err := process(t.Context(), id)
					if err != nil {
						t.Error(err)
					}
					if isNew {
						processed.Add(1)
					}
				})
			}
			close(start)
			workers.Wait()
			if n := processed.Load(); n != 1 {
				t.Fatalf("%s was new to %d workers", id, n)
			}
			b.wantProcessed(t, id, true)
		}
	})
}

// processIfNew reports whether the event was new.
func (b *bundle) processIfNew(ctx context.Context, eventID string) (bool, error) {
	outcome, err := b.guard.ProcessIfNew(ctx, eventID, b.handler(eventID))

	return outcome == idem.Processed, err
}

// claimAndWrite does the same in a transaction of the library's own.
func (b *bundle) claimAndWrite(ctx context.Context, eventID string) (isNew bool, err error) {
	claim, err := b.claim(ctx, eventID, b.handler(eventID))

	return claim.New, err
}

// claim claims an event in a transaction of the library's own, and runs fn if the event is new.
func (b *bundle) claim(ctx context.Context, eventID string, fn func(ctx context.Context, tx *sql.Tx) error) (claim idem.Claim, err error) {
	err = b.transact(context.WithoutCancel(ctx), func(tx *sql.Tx) error {
		var err error
		if claim, err = b.guard.ClaimTx(ctx, tx, eventID); err != nil || !claim.New {
			return err
		}

		return fn(ctx, tx)
	})

	return claim, err
}

func TestHandlerFails(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		fails := func(ctx context.Context, tx *sql.Tx) error { return errors.Join(b.insert(ctx, tx, "a"), errBoom) }
		outcome, err := b.guard.ProcessIfNew(t.Context(), "a", fails)
		var handlerErr *idem.HandlerError
		if outcome != 0 || !errors.As(err, &handlerErr) || !errors.Is(err, errBoom) || handlerErr.EventID != "a" {
			t.Fatalf("got %v, %v; want a HandlerError", outcome, err)
		}
		b.wantProcessed(t, "a", false)
		if _, err := b.claim(t.Context(), "a", fails); !errors.Is(err, errBoom) {
			t.Fatal(err)
		}
		b.wantProcessed(t, "a", false)

		outcome, err = b.guard.ProcessIfNew(t.Context(), "a", b.handler("a"))
		want(t, "again", outcome, err, idem.Processed)
		b.wantProcessed(t, "a", true)
		outcome, err = b.guard.ProcessIfNew(t.Context(), "a", b.handler("a"))
		want(t, "duplicate", outcome, err, idem.AlreadyProcessed)
		if isNew, err := b.claimAndWrite(t.Context(), "a"); isNew || err != nil {
			t.Fatalf("the duplicate is new: %v, %v", isNew, err)
		}
		b.wantProcessed(t, "a", true)
	})
}

// A handler that overlooks a failed statement has written nothing, whatever its driver says of the COMMIT.
func TestAbortedTransaction(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		runs := 0
		aborts := func(ctx context.Context, tx *sql.Tx) error {
			runs++
			err := b.insert(ctx, tx, "a")
			_, _ = tx.ExecContext(ctx, `SELECT 1 / 0`)

			return err
		}
		outcome, err := b.guard.ProcessIfNew(t.Context(), "a", aborts)
		var handlerErr *idem.HandlerError
		if outcome != 0 || !errors.As(err, &handlerErr) || idem.IsTransient(err) || runs != 1 {
			t.Errorf("got %v, %v after %d runs; want a HandlerError", outcome, err, runs)
		}
		b.wantProcessed(t, "a", false)
		_, err = b.claim(t.Context(), "a", aborts)
		t.Logf("the library's own COMMIT: %v", err)
		b.wantProcessed(t, "a", false)
	})
}

// An error of the server has its SQLSTATE with each driver.
func TestSerializationFailureIsRetried(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		runs := 0
		outcome, err := b.guard.ProcessIfNew(t.Context(), "a", func(ctx context.Context, tx *sql.Tx) error {
			if runs++; runs == 1 {
				_, err := tx.ExecContext(ctx, `DO $$ BEGIN RAISE EXCEPTION 'try again' USING ERRCODE = '40001'; END $$`)

				return err
			}

			return b.insert(ctx, tx, "a")
		})
		want(t, "a", outcome, err, idem.Processed)
		if runs != 2 {
			t.Errorf("%d runs", runs)
		}
		b.wantProcessed(t, "a", true)
	})
}

// What PostgreSQL refuses at COMMIT is the handler's fault, and nobody's after that.
func TestRefusedCommit(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		b.exec(t, `ALTER TABLE public.effects ADD UNIQUE (event_id) DEFERRABLE INITIALLY DEFERRED`)
		runs := 0
		outcome, err := b.guard.ProcessIfNew(t.Context(), "a", func(ctx context.Context, tx *sql.Tx) error {
			runs++

			return errors.Join(b.insert(ctx, tx, "a"), b.insert(ctx, tx, "a"))
		})
		var handlerErr *idem.HandlerError
		if outcome != 0 || !errors.As(err, &handlerErr) || runs != 1 {
			t.Fatalf("got %v, %v after %d runs; want a HandlerError", outcome, err, runs)
		}
		b.wantProcessed(t, "a", false)
	})
}

func TestPanic(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		func() {
			defer func() {
				if got := recover(); got != "boom" {
					t.Errorf("recovered %v", got)
				}
			}()
			_, _ = b.guard.ProcessIfNew(t.Context(), "a", func(ctx context.Context, tx *sql.Tx) error {
				panic(map[bool]any{true: "boom"}[b.insert(ctx, tx, "a") == nil])
			})
		}()
		b.wantProcessed(t, "a", false)
		outcome, err := b.guard.ProcessIfNew(t.Context(), "a", b.handler("a"))
		want(t, "again", outcome, err, idem.Processed)
		if n := b.db.Stats().InUse; n != 0 {
			t.Errorf("%d connections are in use", n)
		}
	})
}

func TestContextEndsInTheHandler(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		ctx, cancel := context.WithCancel(t.Context())
		outcome, err := b.guard.ProcessIfNew(ctx, "a", func(ctx context.Context, tx *sql.Tx) error {
			defer cancel()

			return b.insert(ctx, tx, "a")
		})
		if outcome != 0 || !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v, %v; want context.Canceled", outcome, err)
		}
		b.wantProcessed(t, "a", false)
	})
}

// The end of the context does not stop a COMMIT that is under way.
func TestContextEndsDuringCommit(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		b.exec(t, `CREATE FUNCTION public.dawdle() RETURNS trigger LANGUAGE plpgsql AS $$
			BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END $$`)
		b.exec(t, `CREATE CONSTRAINT TRIGGER dawdle AFTER INSERT ON public.effects
			DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.dawdle()`)
		holder, err := b.direct.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer holder.Close() //nolint:errcheck // Nothing is pending.
		if _, err := holder.ExecContext(t.Context(), `SELECT pg_advisory_lock(1)`); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		released := make(chan error, 1)
		go func() {
			err := b.waitUntil(t.Context(), `EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory')`)
			cancel()
			_, unlockErr := holder.ExecContext(t.Context(), `SELECT pg_advisory_unlock(1)`)
			released <- errors.Join(err, unlockErr)
		}()
		outcome, err := b.guard.ProcessIfNew(ctx, "a", b.handler("a"))
		want(t, "a", outcome, errors.Join(err, <-released), idem.Processed)
		b.wantProcessed(t, "a", true)
	})
}

// cutModes are the ways to lose the answer to a COMMIT, with the least and the greatest number of times that the handler
// then runs.
var cutModes = map[pgtest.CutMode]struct{ least, most int }{
	pgtest.DropBeforeCommit:     {2, 2},
	pgtest.DropAfterCommit:      {1, 1},
	pgtest.ForwardCommitThenCut: {1, 2},
}

func TestCommitWithoutAnswer(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		b.db.SetMaxOpenConns(1) // The search for the outcome must not wait for the connection that was lost.
		for mode, expect := range cutModes {
			for round := range 5 {
				id, runs := fmt.Sprintf("mode-%d-%d", mode, round), 0
				cut := b.proxy.CutNextCommit(mode)
				outcome, err := b.guard.ProcessIfNew(t.Context(), id, func(ctx context.Context, tx *sql.Tx) error {
					runs++

					return b.insert(ctx, tx, id)
				})
				<-cut
				want(t, id, outcome, err, idem.Processed)
				if runs < expect.least || runs > expect.most {
					t.Fatalf("%s: the handler ran %d times, want %d to %d", id, runs, expect.least, expect.most)
				}
				b.wantProcessed(t, id, true)
			}
		}
	})
}

// The caller of ClaimTx asks Resolve.
func TestResolve(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		for mode := range cutModes {
			for round := range 3 {
				id := fmt.Sprintf("mode-%d-%d", mode, round)
				cut := b.proxy.CutNextCommit(mode)
				claim, err := b.claim(t.Context(), id, b.handler(id))
				<-cut
				if err == nil {
					t.Fatalf("%s: the COMMIT was cut and got an answer", id)
				}
				outcome, err := b.guard.Resolve(t.Context(), claim)
				switch {
				case err == nil && outcome == idem.Processed && mode != pgtest.DropBeforeCommit:
					b.wantProcessed(t, id, true)
				case errors.Is(err, idem.ErrNotFound) && mode != pgtest.DropAfterCommit:
					b.wantProcessed(t, id, false)
				default:
					t.Fatalf("%s: got %v, %v", id, outcome, err)
				}
			}
		}
	})
}

func TestMarkProcessed(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		for _, wanted := range []idem.Outcome{idem.Processed, idem.AlreadyProcessed} {
			outcome, err := b.guard.MarkProcessed(t.Context(), "a", idem.WithMetadata(idem.Metadata{Host: "h"}), idem.WithFingerprint(1))
			want(t, "a", outcome, err, wanted)
		}
		_, err := b.guard.ProcessIfNew(t.Context(), "a", b.handler("a"), idem.WithFingerprint(2))
		var collision *idem.CollisionError
		if !errors.As(err, &collision) || collision.Processed != 1 {
			t.Errorf("got %v, want a CollisionError", err)
		}
		outcome, err := b.guard.ProcessIfNew(t.Context(), "b", b.handler("b"), idem.WithHandlerDuration(), idem.WithIsolation("serializable"))
		want(t, "b", outcome, err, idem.Processed)
		b.wantProcessed(t, "b", true)
	})
}

// A row that cannot be read is not one that is not there, also with a driver that tells so only behind the beginning of the rows.
func TestErrorOfARowIsNoMissingRow(t *testing.T) {
	t.Parallel()
	eachDriver(t, func(t *testing.T, b *bundle) {
		tx, err := b.db.BeginTx(context.WithoutCancel(t.Context()), nil)
		if err != nil {
			t.Fatal(err)
		}
		claim, err := b.guard.ClaimTx(t.Context(), tx, "a")
		if err = errors.Join(err, tx.Commit()); err != nil {
			t.Fatal(err)
		}
		b.exec(t, `ALTER TABLE idem.processed_events RENAME TO readable;
			CREATE VIEW idem.processed_events AS
			SELECT processed_at + 1 / (octet_length(event_id) - 1) * interval '1 s' AS processed_at, consumer_id, fingerprint, key, claim_id, event_id, metadata
			FROM idem.readable`)
		if processed, err := b.guard.IsProcessed(t.Context(), "a"); err == nil {
			t.Errorf("IsProcessed says %v", processed)
		}
		if outcome, err := b.guard.Resolve(t.Context(), claim); err == nil || errors.Is(err, idem.ErrNotFound) {
			t.Errorf("Resolve says %v, %v", outcome, err)
		}
	})
}

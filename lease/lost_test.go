package lease_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/lease"
)

// short is a lease that ends soon, but not on a busy machine, with a function that may run again.
var short = lease.Config{Duration: 2 * time.Second, Backoff: lease.NoBackoff, Unknown: lease.Rerun(), Logger: quiet}

// A lease is extended as long as the function runs, whether its caller still waits or not.
func TestHeartbeat(t *testing.T) {
	t.Parallel()
	b := setup(t)
	long := lease.Config{Duration: 2 * time.Second, Unknown: lease.Rerun()} // Long enough for a busy machine.
	leases := newLeases(t, b.guard, long)
	ctx, cancel := context.WithCancel(t.Context())
	done, err := leases.Do(ctx, "e", func(context.Context, *lease.Attempt) (lease.Result, error) {
		cancel()
		for range 2 {
			time.Sleep(long.Duration) //nolint:forbidigo // The function takes longer than the lease.
			done, err := leases.Do(t.Context(), "e", mustNotRun(t))
			wantsBusy(t, "meanwhile", done, err)
		}

		return text("charged"), nil // It has happened, although the context has ended.
	})
	wants(t, "first", done, err, lease.Processed, "charged")
}

// An error after the end of the context tells nothing about the effect.
func TestContextThatEnds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	leases := newLeases(t, b.guard, lease.Config{})
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := leases.Do(ctx, "e", func(ctx context.Context, _ *lease.Attempt) (lease.Result, error) {
		cancel(errBoom)
		<-ctx.Done()

		return lease.Result{}, ctx.Err()
	})
	if !errors.As(err, new(*lease.UndecidedError)) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := leases.Do(ctx, "other", mustNotRun(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
	if n := b.count(t, `SELECT count(*) FROM idem.leases`); n != 1 {
		t.Errorf("%d leases", n)
	}
}

// A process that hangs until another one has completed the event finds its context ended when it wakes up, and cannot
// complete the event once more, even if it does not care about its context.
func TestZombie(t *testing.T) {
	t.Parallel()
	for name, obeys := range map[string]bool{"obeys its context": true, "ignores it": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			leases := newLeases(t, b.guard, short)
			done, err := leases.Do(t.Context(), "e", func(ctx context.Context, a *lease.Attempt) (lease.Result, error) {
				b.expire(t, "e")
				done, err := leases.Do(t.Context(), "e", func(_ context.Context, a *lease.Attempt) (lease.Result, error) {
					if a.Number != 2 || a.Unknown != 1 {
						t.Errorf("attempt %d, %d unknown", a.Number, a.Unknown)
					}
					a.InTx(order("e"))

					return text("second"), nil
				})
				wants(t, "second", done, err, lease.Processed, "second")
				<-ctx.Done()
				var lost *lease.LostError
				if !errors.As(context.Cause(ctx), &lost) || lost.EventID != "e" {
					t.Errorf("the cause is %v", context.Cause(ctx))
				}
				if _, err := a.Step(context.WithoutCancel(ctx), "late", mustNotStep(t)); !errors.As(err, &lost) {
					t.Errorf("a step: %v", err)
				}
				if obeys {
					return lease.Result{}, ctx.Err()
				}
				a.InTx(order("e"))

				return text("first"), nil
			})
			var lost *lease.LostError
			if done.Outcome != 0 || !errors.As(err, &lost) || obeys != errors.Is(err, context.Canceled) {
				t.Errorf("got %v, %v", done, err)
			}
			done, err = leases.Do(t.Context(), "e", mustNotRun(t))
			wants(t, "later", done, err, lease.AlreadyProcessed, "second")
			if n := b.count(t, `SELECT count(*) FROM public.orders`) + b.count(t, `SELECT count(*) FROM idem.results`); n != 2 {
				t.Errorf("%d writes and results, want one each", n)
			}
		})
	}
}

// A function and a write return the error of another lease that is lost. This one is not, and says whether it took effect.
func TestLostLeaseOfAnother(t *testing.T) {
	t.Parallel()
	b := setup(t)
	leases := newLeases(t, b.guard, lease.Config{Backoff: lease.NoBackoff})
	other := &lease.LostError{EventID: "other", Reason: errBoom}
	_, err := leases.Do(t.Context(), "e", func(context.Context, *lease.Attempt) (lease.Result, error) { return lease.Result{}, other })
	var failed *lease.FailedError
	if !errors.As(err, &failed) || lease.IsUnknown(err) {
		t.Errorf("returned: got %v", err)
	}
	_, err = leases.Do(t.Context(), "e", func(_ context.Context, a *lease.Attempt) (lease.Result, error) {
		a.InTx(func(context.Context, pgx.Tx) error { return other })

		return text("charged"), nil
	})
	if !errors.As(err, new(*lease.UndecidedError)) {
		t.Errorf("of a write: got %v", err)
	}
}

// What could not be found out about another event is nobody's business but that one's.
func TestUndecidedOfAnother(t *testing.T) {
	t.Parallel()
	b := setup(t)
	asking := newLeases(t, b.guard, lease.Config{Backoff: lease.NoBackoff, Unknown: lease.Ask(func(context.Context, *lease.Attempt) (lease.Answer, error) {
		return lease.StillUnknown(), nil
	})})
	fails := func(context.Context, *lease.Attempt) (lease.Result, error) {
		return lease.Result{}, lease.Unknown(errBoom)
	}
	if _, err := asking.Do(t.Context(), "other", fails); !lease.IsUnknown(err) {
		t.Fatal(err)
	}
	leases := newLeases(t, b.guard, lease.Config{Backoff: lease.NoBackoff, Unknown: lease.Rerun()})
	for range 2 { // No decision is waited for.
		_, err := leases.Do(t.Context(), "e", func(ctx context.Context, _ *lease.Attempt) (lease.Result, error) {
			_, err := asking.Do(ctx, "other", fails)

			return lease.Result{}, err
		})
		var failed *lease.FailedError
		if !errors.As(err, &failed) || failed.EventID != "e" {
			t.Errorf("got %v", err)
		}
	}
}

// A step whose lease is lost while its function runs is not stored.
func TestStepOfALostLease(t *testing.T) {
	t.Parallel()
	b := setup(t)
	leases := newLeases(t, b.guard, short)
	_, err := leases.Do(t.Context(), "e", func(ctx context.Context, a *lease.Attempt) (lease.Result, error) {
		_, err := a.Step(ctx, "late", func(context.Context) (lease.Result, error) {
			b.exec(t, `UPDATE idem.leases SET token = gen_random_uuid()`)

			return text("late"), nil
		})
		if !errors.As(err, new(*lease.LostError)) {
			t.Errorf("a step: %v", err)
		}

		return text("charged"), err
	})
	if !errors.As(err, new(*lease.LostError)) {
		t.Errorf("got %v", err)
	}
	if n := b.count(t, `SELECT count(*) FROM idem.results`); n != 0 {
		t.Errorf("%d results", n)
	}
}

// An attempt is over when its function has returned: its steps do not run any more, and neither do writes, which is logged.
func TestAttemptThatIsKept(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var log bytes.Buffer
	leases := newLeases(t, b.guard, lease.Config{Backoff: lease.NoBackoff, Unknown: lease.Rerun(), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for name, effect := range map[string]error{"completed": nil, "released": errBoom, "unknown": lease.Unknown(errBoom)} {
		var kept *lease.Attempt
		_, _ = leases.Do(t.Context(), name, func(_ context.Context, a *lease.Attempt) (lease.Result, error) {
			kept = a
			a.InTx(func(context.Context, pgx.Tx) error {
				a.InTx(order(name)) // It is too late within a write, too.

				return nil
			})

			return text("charged"), effect
		})
		if _, err := kept.Step(t.Context(), "late", mustNotStep(t)); !errors.As(err, new(*lease.LostError)) {
			t.Errorf("%s: %v", name, err)
		}
		kept.InTx(order(name))
		_, _ = leases.Do(t.Context(), name, returns("charged"))
	}
	if n := b.count(t, `SELECT count(*) FROM public.orders`); n != 0 {
		t.Errorf("%d late writes", n)
	}
	if n := strings.Count(log.String(), "a write of InTx comes behind the end of its function"); n != 4 {
		t.Errorf("%d late writes are logged: %s", n, &log)
	}
}

// The end of a context leaves no lease behind whose attempt has not begun: somebody would have to decide about it.
func TestContextThatEndsBefore(t *testing.T) {
	t.Parallel()
	b := setup(t)
	proxy := pgtest.NewProxy(t, b.db)
	leases := newLeases(t, newGuard(t, b.db.Pool(t, pgtest.Via(proxy.Addr()))), lease.Config{Logger: quiet})
	done, err := leases.Do(t.Context(), "warm-up", returns("charged"))
	wants(t, "warm-up", done, err, lease.Processed, "charged")
	for at := range 4 { // BEGIN, the acquisition, the look, and COMMIT
		id := fmt.Sprint("e", at)
		ctx, cancel := context.WithCancel(t.Context())
		proxy.CutNextStatement(pgtest.DropBeforeCommit, func(string) bool { // Nothing is cut.
			if at--; at < 0 {
				cancel()
			}

			return false
		})
		if _, err := leases.Do(ctx, id, mustNotRun(t)); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", id, err)
		}
		done, err := leases.Do(t.Context(), id, returns("charged"))
		wants(t, id, done, err, lease.Processed, "charged")
	}
}

// An event that is claimed by other means while its function runs is not completed by it.
func TestClaimedMeanwhile(t *testing.T) {
	t.Parallel()
	b := setup(t)
	leases := newLeases(t, b.guard, short)
	_, err := leases.Do(t.Context(), "e", func(ctx context.Context, _ *lease.Attempt) (lease.Result, error) {
		_, err := b.guard.MarkProcessed(ctx, "e")

		return text("charged"), err
	})
	if !errors.As(err, new(*lease.LostError)) {
		t.Errorf("got %v", err)
	}
	done, err := leases.Do(t.Context(), "e", mustNotRun(t))
	wants(t, "later", done, err, lease.AlreadyProcessed, "")
}

// A process that cannot reach PostgreSQL until its lease ends gives up. What its function returns in spite of that is
// stored, unless somebody else has the event.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	for name, succeeds := range map[string]bool{"gives up": false, "succeeds": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			proxy := pgtest.NewProxy(t, b.db)
			leases := newLeases(t, newGuard(t, b.db.Pool(t, pgtest.Via(proxy.Addr()))), short)
			done, err := leases.Do(t.Context(), "e", func(ctx context.Context, _ *lease.Attempt) (lease.Result, error) {
				proxy.Refuse()
				<-ctx.Done()
				proxy.Resume()
				if succeeds {
					return text("charged"), nil
				}

				return lease.Result{}, context.Cause(ctx)
			})
			if succeeds {
				wants(t, "first", done, err, lease.Processed, "charged")

				return
			}
			if !errors.As(err, new(*lease.LostError)) {
				t.Errorf("got %v", err)
			}
			done, err = leases.Do(t.Context(), "e", func(_ context.Context, a *lease.Attempt) (lease.Result, error) {
				if a.Unknown != 1 {
					t.Errorf("%d unknown", a.Unknown)
				}

				return text("charged"), nil
			})
			wants(t, "again", done, err, lease.Processed, "charged")
		})
	}
}

// A COMMIT without an answer, of the acquisition as of the completion, is found out.
func TestCommitWithoutAnswer(t *testing.T) {
	t.Parallel()
	for mode, name := range map[pgtest.CutMode]string{
		pgtest.DropBeforeCommit: "before", pgtest.DropAfterCommit: "after", pgtest.ForwardCommitThenCut: "meanwhile",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			proxy := pgtest.NewProxy(t, b.db)
			leases := newLeases(t, newGuard(t, b.db.Pool(t, pgtest.Via(proxy.Addr()))), lease.Config{Logger: quiet})
			for _, id := range []string{"a", "b", "c", "d"} {
				cut := proxy.CutNextCommit(mode)
				done, err := leases.Do(t.Context(), id, func(_ context.Context, a *lease.Attempt) (lease.Result, error) {
					<-cut
					if a.Number != 1 || a.Unknown != 0 {
						t.Errorf("%s: attempt %d, %d unknown", id, a.Number, a.Unknown)
					}
					cut = proxy.CutNextCommit(mode)
					a.InTx(order(id))

					return text("charged"), nil
				})
				wants(t, id, done, err, lease.Processed, "charged")
				<-cut
				if n := b.count(t, `SELECT count(*) FROM public.orders WHERE event_id = $1`, id); n != 1 {
					t.Errorf("%s: the write took effect %d times", id, n)
				}
			}
		})
	}
}

// While PostgreSQL is away nothing runs, and no outcome is guessed.
func TestOutage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	proxy := pgtest.NewProxy(t, b.db)
	leases := newLeases(t, newGuard(t, b.db.Pool(t, pgtest.Via(proxy.Addr()))), lease.Config{Duration: 150 * time.Millisecond, Logger: quiet})
	proxy.Refuse()
	if done, err := leases.Do(t.Context(), "e", mustNotRun(t)); done.Outcome != 0 || err == nil {
		t.Errorf("without a database: %v, %v", done, err)
	}
	proxy.Resume()
	done, err := leases.Do(t.Context(), "e", returns("charged"))
	wants(t, "afterwards", done, err, lease.Processed, "charged")
}

// The packets of the connection vanish under a statement of a step. It is given up when the lease would have ended, and the next attempt
// goes on over another connection.
func TestConnectionVanishesUnderAStep(t *testing.T) {
	t.Parallel()
	for _, statement := range []string{"StepGet", "StepStore"} {
		t.Run(statement, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			proxy := pgtest.NewProxy(t, b.db)
			leases := newLeases(t, newGuard(t, b.db.Pool(t, pgtest.Via(proxy.Addr()))), lease.Config{Duration: 2 * time.Second, Backoff: lease.NoBackoff, Unknown: lease.Rerun()})
			attempt := func(ctx context.Context, a *lease.Attempt) (lease.Result, error) {
				return a.Step(ctx, "charge", func(context.Context) (lease.Result, error) { return text("charged"), nil })
			}
			vanished := proxy.CutNextStatement(pgtest.Swallow, func(sql string) bool { return strings.Contains(sql, statement) })
			ended := make(chan error, 1)
			go func() { ended <- second(leases.Do(t.Context(), "e", attempt)) }()
			select {
			case err := <-ended:
				if !errors.As(err, new(*lease.FailedError)) || !errors.Is(err, context.DeadlineExceeded) || lease.IsUnknown(err) != (statement == "StepStore") {
					t.Errorf("got %v", err)
				}
			case <-time.After(time.Minute):
				t.Error("it waits for ever")
			}
			<-vanished
			proxy.CutAll()
			done, err := leases.Do(t.Context(), "e", attempt)
			wants(t, "again", done, err, lease.Processed, "charged")
		})
	}
}

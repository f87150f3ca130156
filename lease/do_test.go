package lease_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/lease"
	"github.com/nova-events/idempotent-consumer/ops"
)

// An event is completed once, with its result and the caller's own writes, and its duplicates get the result.
func TestDo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	leases := newLeases(t, b.guard, lease.Config{})
	for _, id := range []string{"e", "0199c2a4-0000-7000-8000-000000000001"} {
		done, err := leases.Do(t.Context(), id, func(_ context.Context, a *lease.Attempt) (lease.Result, error) {
			if a.EventID != id || a.Number != 1 || a.Unknown != 0 {
				t.Errorf("attempt %+v", a)
			}
			a.InTx(order(id))

			return text("charged"), nil
		})
		wants(t, "first", done, err, lease.Processed, "charged")
		done, err = leases.Do(t.Context(), id, mustNotRun(t))
		wants(t, "again", done, err, lease.AlreadyProcessed, "charged")
		if done.Result.ContentType != "text/plain" {
			t.Errorf("content type %q", done.Result.ContentType)
		}
		if processed, err := b.guard.IsProcessed(t.Context(), id); !processed || err != nil {
			t.Errorf("processed: %v, %v", processed, err)
		}
	}
	if n := b.count(t, `SELECT count(*) FROM public.orders`); n != 2 {
		t.Errorf("%d writes of the caller, want 2", n)
	}
	if n := b.count(t, `SELECT count(*) FROM idem.leases`); n != 0 {
		t.Errorf("%d leases are left", n)
	}
}

// While an attempt runs others are told when to come back, or wait for its result.
func TestInProgress(t *testing.T) {
	t.Parallel()
	b := setup(t)
	leases := newLeases(t, b.guard, lease.Config{})
	var waiting sync.WaitGroup
	done, err := leases.Do(t.Context(), "e", func(ctx context.Context, _ *lease.Attempt) (lease.Result, error) {
		done, err := leases.Do(ctx, "e", mustNotRun(t))
		if after := wantsBusy(t, "meanwhile", done, err); after <= 0 || after > lease.DefaultDuration {
			t.Errorf("come back in %v", after)
		}
		for range 3 {
			waiting.Go(func() {
				done, err := leases.Do(t.Context(), "e", mustNotRun(t), lease.Wait(time.Minute))
				if err != nil || done.Outcome != lease.AlreadyProcessed || string(done.Result.Body) != "charged" {
					t.Errorf("waiting: %v, %v", done, err)
				}
			})
		}
		ended, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
		defer cancel()
		if done, err := leases.Do(ended, "e", mustNotRun(t), lease.Wait(time.Minute)); done.Outcome != 0 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waiting until the end of ctx: %v, %v", done, err)
		}

		return text("charged"), nil
	})
	wants(t, "first", done, err, lease.Processed, "charged")
	waiting.Wait()
}

// An attempt that fails releases its lease. The next one comes after a pause, and knows its number.
func TestFailure(t *testing.T) {
	t.Parallel()
	b := setup(t)
	leases := newLeases(t, b.guard, lease.Config{Backoff: time.Hour, MaxBackoff: time.Hour})
	done, err := leases.Do(t.Context(), "e", func(_ context.Context, a *lease.Attempt) (lease.Result, error) {
		a.InTx(order("e"))

		return lease.Result{}, errBoom
	})
	var failed *lease.FailedError
	if done.Outcome != 0 || !errors.As(err, &failed) || !errors.Is(err, errBoom) || failed.Attempts != 1 || failed.RetryAfter < 50*time.Minute || lease.IsUnknown(err) {
		t.Fatalf("got %v, %v", done, err)
	}
	done, err = leases.Do(t.Context(), "e", mustNotRun(t))
	if after := wantsBusy(t, "in the pause", done, err); after < 50*time.Minute {
		t.Errorf("come back in %v", after)
	}
	b.expire(t, "e")
	done, err = leases.Do(t.Context(), "e", func(_ context.Context, a *lease.Attempt) (lease.Result, error) {
		if a.Number != 2 || a.Unknown != 0 {
			t.Errorf("attempt %d, %d unknown", a.Number, a.Unknown)
		}

		return text("charged"), nil
	})
	wants(t, "after the pause", done, err, lease.Processed, "charged")
	if n := b.count(t, `SELECT count(*) FROM public.orders`); n != 0 {
		t.Errorf("the write of the attempt that failed is there %d times", n)
	}
}

// crashes are ways in which an attempt ends without anybody knowing whether it took effect. Those that panic are
// recovered by the test.
func crashes(t *testing.T, b *bundle) map[string]lease.Func {
	t.Helper()

	return map[string]lease.Func{
		"error of unknown outcome": func(context.Context, *lease.Attempt) (lease.Result, error) {
			return lease.Result{}, fmt.Errorf("no answer: %w", lease.Unknown(errBoom))
		},
		"panic":  func(context.Context, *lease.Attempt) (lease.Result, error) { panic(errBoom) },
		"Goexit": func(context.Context, *lease.Attempt) (lease.Result, error) { runtime.Goexit(); panic("not reached") },
		"result that is too large": func(context.Context, *lease.Attempt) (lease.Result, error) {
			return lease.Result{Body: make([]byte, lease.DefaultMaxResultBytes+1)}, nil
		},
		"result that cannot be stored": func(context.Context, *lease.Attempt) (lease.Result, error) {
			return lease.Result{ContentType: "a\x00b"}, nil
		},
		"write that fails": func(_ context.Context, a *lease.Attempt) (lease.Result, error) {
			a.InTx(func(context.Context, pgx.Tx) error { return errBoom })

			return text("charged"), nil
		},
		"crash": func(_ context.Context, a *lease.Attempt) (lease.Result, error) {
			b.expire(t, a.EventID)
			b.exec(t, `UPDATE idem.leases SET token = gen_random_uuid() WHERE key = idem.event_key($1)`, a.EventID) // This process cannot end it.

			return lease.Result{}, errBoom
		},
	}
}

// call calls Do in a goroutine of its own, which the function may end.
func call(t *testing.T, leases *lease.Leases, id string, fn lease.Func) (err error) {
	t.Helper()
	var ended sync.WaitGroup
	ended.Go(func() {
		defer func() { _ = recover() }()
		_, err = leases.Do(t.Context(), id, fn)
	})
	ended.Wait()

	return err
}

// After an attempt of unknown outcome the default is that somebody decides.
func TestNeedsDecision(t *testing.T) {
	t.Parallel()
	b := setup(t)
	leases := newLeases(t, b.guard, lease.Config{})
	for name, crash := range crashes(t, b) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_ = call(t, leases, name, crash)
			done, err := leases.Do(t.Context(), name, mustNotRun(t))
			var undecided *lease.UndecidedError
			if done.Outcome != 0 || !errors.As(err, &undecided) || undecided.Attempts != 1 || undecided.Unknown != 1 || undecided.Since.IsZero() {
				t.Fatalf("got %v, %v", done, err)
			}
			if n := b.count(t, `SELECT count(*) FROM idem.leases WHERE needs_decision AND key = idem.event_key($1)`, name); n != 1 {
				t.Error("nobody is asked to decide")
			}
		})
	}
}

// With Rerun the next attempt runs, and is told that an earlier one may have taken effect.
func TestRerun(t *testing.T) {
	t.Parallel()
	b := setup(t)
	leases := newLeases(t, b.guard, lease.Config{Unknown: lease.Rerun(), Backoff: lease.NoBackoff})
	for name, crash := range crashes(t, b) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := call(t, leases, name, crash)
			if name == "error of unknown outcome" && (!lease.IsUnknown(err) || !errors.As(err, new(*lease.FailedError)) || !errors.Is(err, errBoom)) {
				t.Errorf("got %v", err)
			}
			if name == "result that is too large" && !errors.Is(err, lease.ErrResultTooLarge) {
				t.Errorf("got %v", err)
			}
			done, err := leases.Do(t.Context(), name, func(_ context.Context, a *lease.Attempt) (lease.Result, error) {
				if a.Number != 2 || a.Unknown != 1 {
					t.Errorf("attempt %d, %d unknown", a.Number, a.Unknown)
				}

				return text("charged"), nil
			})
			wants(t, "again", done, err, lease.Processed, "charged")
		})
	}
}

// Ask finds out what became of earlier attempts.
func TestAsk(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for name, c := range map[string]struct {
		answer lease.Answer
		err    error
		runs   bool
	}{
		"took effect":   {answer: lease.TookEffect(text("charged before"))},
		"no effect":     {answer: lease.NoEffect(), runs: true},
		"still unknown": {answer: lease.StillUnknown()},
		"error":         {err: errBoom},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked, runs := 0, 0
			leases := newLeases(t, b.guard, lease.Config{Backoff: lease.NoBackoff, Unknown: lease.Ask(func(_ context.Context, a *lease.Attempt) (lease.Answer, error) {
				if asked++; a.Unknown != 1 {
					t.Errorf("asked about %d attempts", a.Unknown)
				}

				return c.answer, c.err
			})})
			_, err := leases.Do(t.Context(), name, func(context.Context, *lease.Attempt) (lease.Result, error) {
				return lease.Result{}, lease.Unknown(errBoom)
			})
			if !lease.IsUnknown(err) || asked != 0 {
				t.Fatal(asked, err)
			}
			fn := func(_ context.Context, a *lease.Attempt) (lease.Result, error) {
				if runs++; a.Unknown != 0 {
					t.Errorf("%d unknown", a.Unknown)
				}

				return text("charged now"), nil
			}
			done, err := leases.Do(t.Context(), name, fn)
			switch {
			case c.runs:
				wants(t, name, done, err, lease.Processed, "charged now")
			case c.err != nil:
				if !errors.Is(err, errBoom) || !errors.As(err, new(*lease.FailedError)) || !lease.IsUnknown(err) {
					t.Errorf("got %v", err)
				}
			case c.answer == lease.StillUnknown():
				var undecided *lease.UndecidedError
				if !errors.As(err, &undecided) || undecided.Unknown != 1 {
					t.Errorf("got %v", err)
				}
			default:
				wants(t, name, done, err, lease.Processed, "charged before")
			}
			if asked != 1 || (runs == 1) != c.runs {
				t.Errorf("asked %d times, ran %d times", asked, runs)
			}
			if done.Outcome == 0 { // The next call asks again.
				if _, _ = leases.Do(t.Context(), name, fn); asked != 2 || runs != 0 {
					t.Errorf("asked %d times, ran %d times", asked, runs)
				}
			}
		})
	}
}

// What an operator has run again is not asked about, until another attempt may have taken effect: the answer could be the one that made
// the operator decide.
func TestAskBehindADecision(t *testing.T) {
	t.Parallel()
	b := setup(t)
	asked := 0
	leases := newLeases(t, b.guard, lease.Config{Backoff: lease.NoBackoff, Unknown: lease.Ask(func(context.Context, *lease.Attempt) (lease.Answer, error) {
		asked++

		return lease.StillUnknown(), nil
	})})
	operator, err := ops.New(b.pool, ops.Config{})
	if err != nil {
		t.Fatal(err)
	}
	returns := func(err error) lease.Func {
		return func(context.Context, *lease.Attempt) (lease.Result, error) { return text("charged"), err }
	}
	for i, step := range []struct {
		fn    lease.Func
		rerun bool
		asked int // since the beginning
		err   any // a pointer
	}{
		{returns(lease.Unknown(errBoom)), false, 0, new(*lease.FailedError)},
		{mustNotRun(t), false, 1, new(*lease.UndecidedError)},
		{returns(errBoom), true, 1, new(*lease.FailedError)},
		{returns(lease.Unknown(errBoom)), false, 1, new(*lease.FailedError)},
		{mustNotRun(t), false, 2, new(*lease.UndecidedError)},
	} {
		if step.rerun {
			if _, err := operator.RerunLease(t.Context(), "payments", "e", ops.DecisionRequest{}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := leases.Do(t.Context(), "e", step.fn); !errors.As(err, step.err) || asked != step.asked {
			t.Errorf("call %d: asked %d times, got %v", i+1, asked, err)
		}
	}
	if _, err := operator.RerunLease(t.Context(), "payments", "e", ops.DecisionRequest{}); err != nil {
		t.Fatal(err)
	}
	done, err := leases.Do(t.Context(), "e", returns(nil))
	wants(t, "in the end", done, err, lease.Processed, "charged")
}

// The payload of an event must not change, neither while it is in progress, nor after an attempt that may have taken
// effect, nor when the event is completed.
func TestFingerprint(t *testing.T) {
	t.Parallel()
	b := setup(t)
	leases := newLeases(t, b.guard, lease.Config{Backoff: lease.NoBackoff, Unknown: lease.Rerun()})
	one, other := idem.FingerprintOf([]byte("one")), idem.FingerprintOf([]byte("other"))
	for id, effect := range map[string]lease.Func{
		"unknown": func(context.Context, *lease.Attempt) (lease.Result, error) {
			return lease.Result{}, lease.Unknown(errBoom)
		},
		"step": func(ctx context.Context, a *lease.Attempt) (lease.Result, error) {
			_, err := a.Step(ctx, "charge", func(context.Context) (lease.Result, error) { return text("charged"), nil })

			return lease.Result{}, errors.Join(errBoom, err)
		},
	} {
		refused := func(when string) {
			t.Helper()
			done, err := leases.Do(t.Context(), id, mustNotRun(t), lease.WithFingerprint(other))
			var collision *idem.CollisionError
			if done.Outcome != 0 || !errors.As(err, &collision) || collision.Fingerprint != other || collision.Processed != one || time.Since(collision.ProcessedAt).Abs() > time.Hour {
				t.Errorf("%s, %s: %v, %v", id, when, done, err)
			}
		}
		_, err := leases.Do(t.Context(), id, func(ctx context.Context, a *lease.Attempt) (lease.Result, error) {
			refused("in progress")

			return effect(ctx, a)
		}, lease.WithFingerprint(one))
		if !errors.Is(err, errBoom) {
			t.Fatal(err)
		}
		refused("it failed")
		if done, err := leases.Do(t.Context(), id, fails); !errors.Is(err, errBoom) {
			t.Fatalf("a later attempt: %v, %v", done, err)
		}
		refused("it failed again, and nothing happened")
		done, err := leases.Do(t.Context(), id, returns("charged")) // The first fingerprint stays.
		wants(t, "without", done, err, lease.Processed, "charged")
		refused("completed")
		done, err = leases.Do(t.Context(), id, mustNotRun(t), lease.WithFingerprint(one))
		wants(t, "same again", done, err, lease.AlreadyProcessed, "charged")
		done, err = leases.Do(t.Context(), id, mustNotRun(t))
		wants(t, "without", done, err, lease.AlreadyProcessed, "charged")
	}
}

// If nothing happened in any attempt, the event can come with another payload.
func TestFingerprintOfNothing(t *testing.T) {
	t.Parallel()
	leases := newLeases(t, setup(t).guard, lease.Config{Backoff: lease.NoBackoff})
	for i := range 3 {
		_, err := leases.Do(t.Context(), "e", fails, lease.WithFingerprint(idem.Fingerprint(1+i)))
		if !errors.Is(err, errBoom) {
			t.Fatal(err)
		}
	}
	done, err := leases.Do(t.Context(), "e", returns("charged"), lease.WithFingerprint(7))
	wants(t, "corrected", done, err, lease.Processed, "charged")
	if _, err := leases.Do(t.Context(), "e", mustNotRun(t), lease.WithFingerprint(8)); !errors.As(err, new(*idem.CollisionError)) {
		t.Errorf("got %v", err)
	}
}

// To write nothing is no error.
func TestInTxOfNothing(t *testing.T) {
	t.Parallel()
	leases := newLeases(t, setup(t).guard, lease.Config{})
	done, err := leases.Do(t.Context(), "e", func(_ context.Context, a *lease.Attempt) (lease.Result, error) {
		a.InTx(nil)

		return text("charged"), nil
	})
	wants(t, "first", done, err, lease.Processed, "charged")
}

package lease_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/lease"
)

// What is done is not done again after a crash: its result is used.
func TestSteps(t *testing.T) {
	t.Parallel()
	b := setup(t)
	leases := newLeases(t, b.guard, short)
	var crash bool
	ran := map[string]int{}
	fn := func(ctx context.Context, a *lease.Attempt) (lease.Result, error) {
		receipt, err := lease.StepJSON(ctx, a, "charge", func(context.Context) (map[string]int, error) {
			ran["charge"]++

			return map[string]int{"amount": 7}, nil
		})
		if err != nil || receipt["amount"] != 7 {
			t.Errorf("charge: %v, %v", receipt, err)
		}
		if again, err := a.Step(ctx, "charge", func(context.Context) (lease.Result, error) { return lease.Result{}, errBoom }); err != nil || string(again.Body) != `{"amount":7}` {
			t.Errorf("charge again: %v, %v", again, err)
		}
		if crash {
			panic(errBoom)
		}
		_, err = a.Step(ctx, "mail", func(context.Context) (lease.Result, error) {
			if ran["mail"]++; ran["mail"] == 1 {
				return lease.Result{}, errBoom
			}

			return text("sent"), nil
		})

		return text("done"), err
	}
	for _, crash = range []bool{true, true, false} {
		_ = call(t, leases, "e", fn)
	}
	if ran["charge"] != 1 || ran["mail"] != 1 {
		t.Errorf("ran %v", ran)
	}
	done, err := leases.Do(t.Context(), "e", fn)
	wants(t, "in the end", done, err, lease.Processed, "done")
	if ran["charge"] != 1 || ran["mail"] != 2 {
		t.Errorf("ran %v", ran)
	}
	if n := b.count(t, `SELECT count(*) FROM idem.results WHERE step <> ''`); n != 0 {
		t.Errorf("%d steps are left", n)
	}
}

// Two steps of one name do not run at the same time: both would take effect.
func TestStepsAtOnce(t *testing.T) {
	t.Parallel()
	leases := newLeases(t, setup(t).guard, lease.Config{})
	done, err := leases.Do(t.Context(), "e", func(ctx context.Context, a *lease.Attempt) (lease.Result, error) {
		return a.Step(ctx, "charge", func(ctx context.Context) (lease.Result, error) {
			_, err := a.Step(ctx, "charge", func(context.Context) (lease.Result, error) {
				t.Error("the function ran")

				return lease.Result{}, nil
			})
			if !errors.Is(err, idem.ErrInvalidConfig) {
				t.Errorf("got %v", err)
			}

			return a.Step(ctx, "other", func(context.Context) (lease.Result, error) { return text("charged"), nil })
		})
	})
	wants(t, "charge", done, err, lease.Processed, "charged")
}

// A step that has happened and cannot be stored makes its attempt unknown; one that was refused makes nothing.
func TestStepsThatCannotBe(t *testing.T) {
	t.Parallel()
	b := setup(t)
	leases := newLeases(t, b.guard, lease.Config{MaxResultBytes: 10})
	step := func(name string, result lease.Result) error {
		_, err := leases.Do(t.Context(), name+" "+string(result.Body), func(ctx context.Context, a *lease.Attempt) (lease.Result, error) {
			_, err := a.Step(ctx, name, func(context.Context) (lease.Result, error) { return result, nil })

			return lease.Result{}, err
		})

		return err
	}
	if err := step("large", text("eleven byte")); !errors.Is(err, lease.ErrResultTooLarge) || !errors.As(err, new(*lease.UndecidedError)) {
		t.Errorf("got %v", err)
	}
	for _, name := range []string{"", strings.Repeat("x", 256), "a\x00b", "a\xff"} {
		err := step(name, text("ok"))
		if !errors.Is(err, idem.ErrInvalidConfig) && !errors.Is(err, idem.ErrInvalidEventID) || errors.As(err, new(*lease.UndecidedError)) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// Keys are the same in each attempt, different for each step, and short enough for providers.
func TestKey(t *testing.T) {
	t.Parallel()
	b := setup(t)
	leases := newLeases(t, b.guard, short)
	keys := map[string]string{}
	ids := []string{"e", "a/b", "a%2Fb", "é ü", strings.Repeat("x", idem.MaxEventIDBytes), strings.Repeat("x", idem.MaxEventIDBytes-1)}
	for _, id := range ids {
		var first string
		for range 2 {
			_, _ = leases.Do(t.Context(), id, func(_ context.Context, a *lease.Attempt) (lease.Result, error) {
				if first == "" {
					first = a.Key("charge")
				}
				if a.Key("charge") != first || a.Key("mail") == first || len(first) > lease.MaxKeyBytes {
					t.Errorf("%q: key %q", id, first)
				}

				return lease.Result{}, errBoom
			})
		}
		if other, ok := keys[first]; ok {
			t.Errorf("%q and %q have the key %q", id, other, first)
		}
		keys[first] = id
	}
	if keys["payments/e/charge"] != "e" || keys["payments/a%2Fb/charge"] != "a/b" {
		t.Errorf("keys %v", keys)
	}
}

// A write that a step's function adds is missing after a crash behind the step. That is said at the first one, not at each.
func TestWritesInSteps(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var log bytes.Buffer
	leases := newLeases(t, b.guard, lease.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	write := func(context.Context, pgx.Tx) error { return nil }
	for _, id := range []string{"a", "b"} {
		_, err := leases.Do(t.Context(), id, func(ctx context.Context, a *lease.Attempt) (lease.Result, error) {
			a.InTx(write)
			if id == "a" {
				_, err := a.Step(ctx, "before", func(context.Context) (lease.Result, error) { return lease.Result{}, nil })
				a.InTx(write)
				if text := log.String(); err != nil || text != "" {
					t.Errorf("outside of steps: %v, %s", err, text)
				}
			}

			return a.Step(ctx, "charge", func(context.Context) (lease.Result, error) {
				a.InTx(write)

				return lease.Result{}, nil
			})
		})
		if err != nil {
			t.Error(err)
		}
	}
	if text := log.String(); strings.Count(text, "call InTx outside of steps") != 1 || !strings.Contains(text, "event_id=a") {
		t.Errorf("logged: %s", text)
	}
}

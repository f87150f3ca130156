package lease_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/nova-events/idempotent-consumer/lease"
)

// A step that may have taken effect and is not stored makes its attempt unknown, whatever its function makes of the step's error. The end
// of a step's context is no answer of the other system.
func TestStepsOfUnknownEffect(t *testing.T) {
	t.Parallel()
	leases := newLeases(t, setup(t).guard, lease.Config{MaxResultBytes: 10, Backoff: lease.NoBackoff})
	steps := map[string]struct {
		fn      func(ctx context.Context, stop func()) (lease.Result, error)
		unknown bool
	}{
		"its time is over": {func(ctx context.Context, stop func()) (lease.Result, error) {
			stop()

			return lease.Result{}, ctx.Err()
		}, true},
		"no answer": {func(context.Context, func()) (lease.Result, error) { return lease.Result{}, lease.Unknown(errBoom) }, true},
		"panic":     {func(context.Context, func()) (lease.Result, error) { panic(errBoom) }, true},
		"too large": {func(context.Context, func()) (lease.Result, error) { return text("eleven byte"), nil }, true},
		"refused":   {func(context.Context, func()) (lease.Result, error) { return lease.Result{}, errBoom }, false},
		"stored":    {func(context.Context, func()) (lease.Result, error) { return text("charged"), nil }, false},
	}
	for name, step := range steps {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := leases.Do(t.Context(), name, func(ctx context.Context, a *lease.Attempt) (result lease.Result, err error) {
				ctx, stop := context.WithCancel(ctx)
				defer stop()
				defer func() { err = fmt.Errorf("status: %v, %v", err, recover()) }() //nolint:errorlint // It hides the step's error.

				return a.Step(ctx, "charge", func(ctx context.Context) (lease.Result, error) { return step.fn(ctx, stop) })
			})
			if unknown := errors.As(err, new(*lease.UndecidedError)); unknown != step.unknown {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A step that is tried again and is stored leaves nothing unknown.
func TestStepThatIsTriedAgain(t *testing.T) {
	t.Parallel()
	leases := newLeases(t, setup(t).guard, lease.Config{})
	_, err := leases.Do(t.Context(), "e", func(ctx context.Context, a *lease.Attempt) (lease.Result, error) {
		for _, answer := range []error{lease.Unknown(errBoom), nil} {
			if _, err := a.Step(ctx, "charge", func(context.Context) (lease.Result, error) { return text("charged"), answer }); !errors.Is(err, answer) {
				t.Errorf("got %v", err)
			}
		}

		return lease.Result{}, errors.New("the mail was refused")
	})
	if !errors.As(err, new(*lease.FailedError)) || lease.IsUnknown(err) {
		t.Errorf("got %v", err)
	}
}

// A function that gives up does not know what its step does meanwhile.
func TestStepThatIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	leases := newLeases(t, setup(t).guard, lease.Config{})
	begun, returned, ended := make(chan bool), make(chan bool), make(chan bool)
	_, err := leases.Do(t.Context(), "e", func(ctx context.Context, a *lease.Attempt) (lease.Result, error) {
		go func() {
			defer close(ended)
			_, err := a.Step(ctx, "charge", func(context.Context) (lease.Result, error) {
				close(begun)
				<-returned

				return text("charged"), nil
			})
			if !errors.As(err, new(*lease.LostError)) {
				t.Errorf("the step: %v", err)
			}
		}()
		<-begun

		return lease.Result{}, errors.New("it takes too long")
	})
	close(returned)
	<-ended
	if !errors.As(err, new(*lease.UndecidedError)) {
		t.Errorf("got %v", err)
	}
}

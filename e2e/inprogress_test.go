package e2e_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/await"
	"github.com/nova-events/idempotent-consumer/lease"
)

// A record whose effect another call has under its lease waits, however often it is tried, and takes the result of that call.
func TestEffectInProgressElsewhere(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	s.broker.Write(t, s.topic, events(0, 1, 1)...)
	payments, err := idem.New(s.pool, idem.Config{Consumer: "payments"})
	if err != nil {
		t.Fatal(err)
	}
	leases, err := lease.New(payments, lease.Config{})
	if err != nil {
		t.Fatal(err)
	}
	var waited atomic.Int64
	_, err = leases.Do(t.Context(), "payment", func(context.Context, *lease.Attempt) (lease.Result, error) {
		s.start(t, func(c *settings) { //nolint:contextcheck // It outlives the function.
			c.Failure.Retry.MaxAttempts = 1
			c.Handle = func(ctx context.Context, _ pgx.Tx, _ consume.Message) error {
				_, err := leases.Do(ctx, "payment", func(context.Context, *lease.Attempt) (lease.Result, error) {
					t.Error("it runs twice")

					return lease.Result{}, nil
				})
				if errors.As(err, new(*lease.InProgressError)) {
					waited.Add(1)
				}

				return err
			}
		})
		await.Until(t, "some tries", func() bool { return waited.Load() > 2 })

		return lease.Result{}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s.awaitCommitted(t, 1)
	if letters := s.letters(t); len(letters) > 0 {
		t.Errorf("dead letters: %v", letters)
	}
}

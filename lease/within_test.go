package lease_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/lease"
)

// In the handler of the same event and consumer a function does not run: its completion would wait for that handler.
func TestDoInTheHandlerOfItsEvent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	leases := newLeases(t, newGuard(t, b.pool), lease.Config{})
	_, err := b.guard.ProcessIfNew(t.Context(), "e", func(ctx context.Context, _ pgx.Tx) error { return second(leases.Do(ctx, "e", mustNotRun(t))) })
	if !errors.Is(err, idem.ErrInvalidConfig) {
		t.Errorf("got %v", err)
	}
	outcome, err := b.guard.ProcessIfNew(t.Context(), "e", func(ctx context.Context, _ pgx.Tx) error { return second(leases.Do(ctx, "f", returns("charged"))) })
	if outcome != idem.Processed || err != nil {
		t.Errorf("another event: got %v, %v", outcome, err)
	}
}

package lease_test

import (
	"context"
	"errors"
	"testing"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/lease"
)

// Undecided events are those of the consumer, and only while nobody has decided.
func TestUndecided(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other, err := idem.New(b.pool, idem.Config{Consumer: "mails"})
	if err != nil {
		t.Fatal(err)
	}
	leases := newLeases(t, b.guard, lease.Config{})
	wants := func(want int64) {
		t.Helper()
		if n, err := leases.Undecided(t.Context()); err != nil || n != want {
			t.Errorf("%d are undecided, %v; want %d", n, err, want)
		}
	}
	wants(0)
	for _, of := range []*lease.Leases{leases, newLeases(t, other, lease.Config{})} {
		for _, id := range []string{"a", "b"} {
			if _, err := of.Do(t.Context(), id, func(context.Context, *lease.Attempt) (lease.Result, error) {
				return lease.Result{}, lease.Unknown(errBoom)
			}); !errors.As(err, new(*lease.UndecidedError)) {
				t.Fatal(err)
			}
		}
	}
	wants(2)
	b.exec(t, `DELETE FROM idem.leases WHERE event_id = 'a'`)
	wants(1)
	if _, err := new(lease.Leases).Undecided(t.Context()); !errors.Is(err, idem.ErrInvalidConfig) {
		t.Errorf("of no Leases: %v", err)
	}
}

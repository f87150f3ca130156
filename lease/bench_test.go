package lease_test

import (
	"context"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/lease"
)

// BenchmarkEffect is what a lease costs around an effect that takes no time, beside a ProcessIfNew with a handler that
// does nothing.
func BenchmarkEffect(b *testing.B) {
	guard, err := idem.New(pgtest.NewDB(b).Pool(b), idem.Config{Consumer: "payments"})
	if err != nil {
		b.Fatal(err)
	}
	leases, err := lease.New(guard, lease.Config{})
	if err != nil {
		b.Fatal(err)
	}
	do := func(ctx context.Context, id string) error {
		_, err := leases.Do(ctx, id, returns("charged"))

		return err
	}
	step := func(ctx context.Context, id string) error {
		_, err := leases.Do(ctx, id, func(ctx context.Context, a *lease.Attempt) (lease.Result, error) {
			return a.Step(ctx, "charge", func(context.Context) (lease.Result, error) { return text("charged"), nil })
		})

		return err
	}
	process := func(ctx context.Context, id string) error {
		_, err := guard.ProcessIfNew(ctx, id, func(context.Context, pgx.Tx) error { return nil })

		return err
	}
	n := 0
	for _, c := range []struct {
		name string
		run  func(ctx context.Context, id string) error
	}{{"ProcessIfNew", process}, {"Do", do}, {"Do with a step", step}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				n++
				if err := c.run(b.Context(), "event "+strconv.Itoa(n)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("duplicate", func(b *testing.B) {
		for b.Loop() {
			if err := do(b.Context(), "event "+strconv.Itoa(n)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

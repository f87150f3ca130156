package lease_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/lease"
)

// paying pays and succeeds.
func paying(p *provider) lease.Func {
	return func(_ context.Context, a *lease.Attempt) (lease.Result, error) {
		p.pay(a.EventID, a.Key("charge"))

		return text("charged"), nil
	}
}

// A hundred duplicates at once have one effect.
func TestDuplicatesAtOnce(t *testing.T) {
	t.Parallel()
	b, p := setup(t), newProvider()
	leases := newLeases(t, b.guard, lease.Config{})
	outcomes := make(chan lease.Outcome)
	for range 100 {
		go func() {
			done, err := leases.Do(t.Context(), "e", paying(p))
			if err != nil && !errors.As(err, new(*lease.InProgressError)) {
				t.Error(err)
			}
			outcomes <- done.Outcome
		}()
	}
	count := map[lease.Outcome]int{}
	for range 100 {
		count[<-outcomes]++
	}
	if count[lease.Processed] != 1 || p.requests["e"] != 1 {
		t.Errorf("%v, %d requests", count, p.requests["e"])
	}
}

// An acquisition that has waited for a completion sees it, and does not run the effect again.
func TestAcquisitionBehindACompletion(t *testing.T) {
	t.Parallel()
	b := setup(t)
	leases := newLeases(t, b.guard, lease.Config{})
	answers := make(chan lease.Done, 1)
	done, err := leases.Do(t.Context(), "e", func(_ context.Context, a *lease.Attempt) (lease.Result, error) {
		a.InTx(func(context.Context, pgx.Tx) error { // The lease is deleted, and nothing is committed.
			go func() {
				done, err := leases.Do(t.Context(), "e", mustNotRun(t))
				if err != nil {
					t.Error(err)
				}
				answers <- done
			}()
			for b.count(t, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) == 0 { //nolint:revive // It waits.
			}

			return nil
		})

		return text("charged"), nil
	})
	wants(t, "first", done, err, lease.Processed, "charged")
	wants(t, "behind it", <-answers, nil, lease.AlreadyProcessed, "charged")
	if n := b.count(t, `SELECT count(*) FROM idem.leases`); n != 0 {
		t.Errorf("%d leases are left", n)
	}
}

package lease_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/lease"
	"github.com/nova-events/idempotent-consumer/ops"
)

// crashing is a function that pays and crashes, before, during or after that: its process goes away without a word,
// panics, or gets no answer.
func crashing(t *testing.T, b *bundle, p *provider, random *rand.Rand) lease.Func {
	t.Helper()

	return func(_ context.Context, a *lease.Attempt) (lease.Result, error) {
		if random.IntN(2) == 0 {
			p.pay(a.EventID, a.Key("charge"))
		}
		switch random.IntN(3) {
		case 0:
			b.exec(t, `UPDATE idem.leases SET token = gen_random_uuid(), until = clock_timestamp() WHERE event_id = $1`, a.EventID) // This process cannot end it.

			return lease.Result{}, errBoom
		case 1:
			panic(errBoom)
		default:
			return lease.Result{}, lease.Unknown(errBoom)
		}
	}
}

// paying pays and succeeds.
func paying(p *provider) lease.Func {
	return func(_ context.Context, a *lease.Attempt) (lease.Result, error) {
		p.pay(a.EventID, a.Key("charge"))

		return text("charged"), nil
	}
}

const crashesOfProvider = 1000

// With Rerun, and the keys of attempts, nobody is charged twice.
func TestNoDoubleChargeWithKeys(t *testing.T) {
	t.Parallel()
	b, p, random := setup(t), newProvider(), rand.New(rand.NewPCG(1, 2))
	leases := newLeases(t, b.guard, lease.Config{Backoff: lease.NoBackoff, Unknown: lease.Rerun(), Logger: quiet})
	crash, pay := crashing(t, b, p, random), paying(p)
	twice := 0
	for done := 0; done < crashesOfProvider; {
		id := fmt.Sprint("event-", done)
		for range 1 + random.IntN(4) {
			_ = call(t, leases, id, crash)
			done++
		}
		answer, err := leases.Do(t.Context(), id, pay)
		wants(t, id, answer, err, lease.Processed, "charged")
		if p.charges[id] != 1 {
			t.Fatalf("%s: charged %d times", id, p.charges[id])
		}
		twice += p.requests[id] - 1
	}
	if twice == 0 {
	if n := b.count(t, `SELECT count(*) FROM idem.leases`); n != 0 {
		t.Errorf("%d leases are left", n)
	}
		t.Error("no crash left an effect behind")
	}
	t.Logf("%d requests were repeated, and recognized by their keys", twice)
}

// With NeedsDecision nothing is run again before somebody has decided, and nobody is charged twice who looks before that.
func TestNoSecondRequestWithoutDecision(t *testing.T) {
	t.Parallel()
	b, p, random := setup(t), newProvider(), rand.New(rand.NewPCG(1, 2))
	leases := newLeases(t, b.guard, lease.Config{Logger: quiet})
	operator, err := ops.New(b.pool, ops.Config{})
	if err != nil {
		t.Fatal(err)
	}
	crash, pay := crashing(t, b, p, random), paying(p)
	for i := range crashesOfProvider {
		id := fmt.Sprint("event-", i)
		_ = call(t, leases, id, crash)
		if _, err := leases.Do(t.Context(), id, mustNotRun(t)); !errors.As(err, new(*lease.UndecidedError)) {
			t.Fatal(err)
		}
		want := lease.Processed
		if p.requests[id] == 1 {
			want = lease.AlreadyProcessed
			_, err = operator.CompleteLease(t.Context(), "payments", id, ops.LeaseResult{Body: []byte("charged")}, ops.DecisionRequest{})
		} else {
			_, err = operator.RerunLease(t.Context(), "payments", id, ops.DecisionRequest{})
		}
		if err != nil {
			t.Fatal(err)
		}
		done, err := leases.Do(t.Context(), id, pay)
		wants(t, id, done, err, want, "charged")
		if p.requests[id] != 1 {
			t.Fatalf("%s: %d requests", id, p.requests[id])
		}
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
			if err != nil {
				t.Error(err)
			}
			outcomes <- done.Outcome
		}()
	}
	count := map[lease.Outcome]int{}
	for range 100 {
		count[<-outcomes]++
	}
	if count[lease.Processed] != 1 || count[0] != 0 || p.requests["e"] != 1 {
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
}

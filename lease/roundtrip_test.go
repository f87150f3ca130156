package lease_test

import (
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/lease"
)

// The network is most of what a lease costs: the acquisition is one round trip, and the completion three.
func TestRoundTrips(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		var trips atomic.Int64
		pool := b.db.Pool(t, pgtest.MaxConns(1), pgtest.ExecMode(mode), pgtest.CountTrips(&trips))
		leases := newLeases(t, newGuard(t, pool), lease.Config{})
		// The first event registers the consumer and fills the caches.
		done, err := leases.Do(t.Context(), "first "+mode.String(), returns("charged"))
		wants(t, "first", done, err, lease.Processed, "charged")
		for _, c := range []struct {
			outcome lease.Outcome
			trips   int64
		}{{lease.Processed, 4}, {lease.AlreadyProcessed, 1}} {
			before := trips.Load()
			done, err := leases.Do(t.Context(), mode.String(), returns("charged"))
			wants(t, mode.String(), done, err, c.outcome, "charged")
			if n := trips.Load() - before; n != c.trips {
				t.Errorf("%s, %s: %d round trips, want %d", mode, c.outcome, n, c.trips)
			}
		}
	}
}

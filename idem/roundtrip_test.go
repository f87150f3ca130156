package idem_test

import (
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// The network is most of what the guard costs: BEGIN and the claim are one round trip.
func TestRoundTrips(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			var trips atomic.Int64
			b := setup(t)
			pool := b.db.Pool(t, pgtest.MaxConns(1), pgtest.ExecMode(mode), pgtest.CountTrips(&trips))
			guard := newGuard(t, pool, idem.Config{Consumer: "orders"})
			// The first event registers the consumer and fills the caches.
			outcome, err := guard.ProcessIfNew(t.Context(), "first", effect("first"))
			want(t, "first", outcome, err, idem.Processed)

			for _, c := range []struct {
				what    string
				handler idem.Handler
				wanted  idem.Outcome
				trips   int64
			}{
				{"a handler with one statement", effect("e"), idem.Processed, 3}, // BEGIN and claim, handler, COMMIT
				{"a duplicate", effect("e"), idem.AlreadyProcessed, 2},           // BEGIN and claim, ROLLBACK
			} {
				before := trips.Load()
				outcome, err := guard.ProcessIfNew(t.Context(), "e", c.handler)
				want(t, c.what, outcome, err, c.wanted)
				if n := trips.Load() - before; n != c.trips {
					t.Errorf("%s takes %d round trips, want %d", c.what, n, c.trips)
				}
			}
		})
	}
}

// ExecIfNew is one round trip, where pgx knows the statements. It forgets them after an error, such
// as a duplicate is.
func TestRoundTripsOfExecIfNew(t *testing.T) {
	t.Parallel()
	for mode, expect := range map[pgx.QueryExecMode]struct{ prepare, execute, duplicate, forgotten int64 }{
		pgx.QueryExecModeCacheStatement: {2, 1, 2, 3}, // deallocate, prepare, execute
		pgx.QueryExecModeCacheDescribe:  {2, 1, 2, 2},
		pgx.QueryExecModeDescribeExec:   {2, 2, 3, 2},
		pgx.QueryExecModeExec:           {1, 1, 2, 1},
		pgx.QueryExecModeSimpleProtocol: {1, 1, 2, 1},
	} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			var trips atomic.Int64
			b := setup(t)
			pool := b.db.Pool(t, pgtest.MaxConns(1), pgtest.ExecMode(mode), pgtest.CountTrips(&trips))
			guard := newGuard(t, pool, idem.Config{Consumer: "orders"})
			if err := guard.Register(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, c := range []struct {
				what   string
				id     string
				wanted idem.Outcome
				trips  int64
			}{
				{"the first", "1", idem.Processed, expect.prepare},
				{"the second", "2", idem.Processed, expect.execute},
				{"a duplicate", "2", idem.AlreadyProcessed, expect.duplicate},
				{"the one behind it", "3", idem.Processed, expect.forgotten},
				{"the next", "4", idem.Processed, expect.execute},
			} {
				before := trips.Load()
				outcome, err := guard.ExecIfNew(t.Context(), c.id, queued(c.id, `SELECT 1`))
				want(t, c.what, outcome, err, c.wanted)
				if n := trips.Load() - before; n != c.trips {
					t.Errorf("%s takes %d round trips, want %d", c.what, n, c.trips)
				}
			}
		})
	}
}

// MarkProcessed is one statement, of a duplicate too.
func TestRoundTripsOfMarkProcessed(t *testing.T) {
	t.Parallel()
	for mode, expect := range map[pgx.QueryExecMode]struct{ prepare, execute int64 }{
		pgx.QueryExecModeCacheStatement: {2, 1},
		pgx.QueryExecModeCacheDescribe:  {2, 1},
		pgx.QueryExecModeDescribeExec:   {2, 2},
		pgx.QueryExecModeExec:           {1, 1},
		pgx.QueryExecModeSimpleProtocol: {1, 1},
	} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			var trips atomic.Int64
			b := setup(t)
			pool := b.db.Pool(t, pgtest.MaxConns(1), pgtest.ExecMode(mode), pgtest.CountTrips(&trips))
			guard := newGuard(t, pool, idem.Config{Consumer: "orders"})
			if err := guard.Register(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, c := range []struct {
				what   string
				id     string
				wanted idem.Outcome
				trips  int64
			}{
				{"the first", "1", idem.Processed, expect.prepare},
				{"the second", "2", idem.Processed, expect.execute},
				{"a duplicate", "2", idem.AlreadyProcessed, expect.execute},
				{"the one behind it", "3", idem.Processed, expect.execute},
			} {
				before := trips.Load()
				outcome, err := guard.MarkProcessed(t.Context(), c.id)
				want(t, c.what, outcome, err, c.wanted)
				if n := trips.Load() - before; n != c.trips {
					t.Errorf("%s takes %d round trips, want %d", c.what, n, c.trips)
				}
			}
		})
	}
}

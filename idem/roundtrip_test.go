package idem_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// tripConn counts how often the client speaks after it has listened.
type tripConn struct {
	net.Conn

	trips    *atomic.Int64
	speaking atomic.Bool
}

func (c *tripConn) Write(p []byte) (int, error) {
	if !c.speaking.Swap(true) {
		c.trips.Add(1)
	}

	return c.Conn.Write(p)
}

func (c *tripConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.speaking.Store(false)

	return n, err
}

// The network is most of what the guard costs: BEGIN and the claim are one round trip.
func TestRoundTrips(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			var trips atomic.Int64
			b := setup(t)
			pool := b.db.Pool(t, pgtest.MaxConns(1), pgtest.ExecMode(mode), func(config *pgxpool.Config) {
				dial := config.ConnConfig.DialFunc
				config.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
					conn, err := dial(ctx, network, addr)

					return &tripConn{Conn: conn, trips: &trips}, err
				}
			})
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

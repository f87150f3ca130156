package pgtest

import (
	"context"
	"net"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgxpool"
)

// CountTrips counts the round trips of a pool's connections.
func CountTrips(trips *atomic.Int64) PoolOption {
	return func(config *pgxpool.Config) {
		dial := config.ConnConfig.DialFunc
		config.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)

			return &tripConn{Conn: conn, trips: trips}, err
		}
	}
}

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

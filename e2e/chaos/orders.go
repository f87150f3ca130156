package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// order is what a worker is told while it runs.
type order struct {
	Step time.Duration `json:"step"` // of its clock, in seconds
	Hold time.Duration `json:"hold"` // of all connections of its pool
}

func (m *member) order(o order) error { return json.NewEncoder(m.input).Encode(o) }

// obey does what it is told until there is nobody to tell.
func obey(ctx context.Context, orders *json.Decoder, pool *pgxpool.Pool, log *slog.Logger) {
	for {
		var o order
		if orders.Decode(&o) != nil {
			return
		}
		step(o.Step)
		if o.Hold > 0 {
			go hold(ctx, pool, o.Hold, log)
		}
	}
}

// hold takes the connections of the pool as they come free, as a leak or a slow report in the same service does, and gives them back.
func hold(ctx context.Context, pool *pgxpool.Pool, long time.Duration, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, long)
	defer cancel()
	all := int(pool.Config().MaxConns)
	var held []*pgxpool.Conn
	for len(held) < all && ctx.Err() == nil {
		conn, err := pool.Acquire(ctx)
		if err != nil { // Another fault may have the server away.
			wait(ctx, observeEvery/10)

			continue
		}
		held = append(held, conn)
	}
	log.Info("connections of the pool are held", "held", len(held), "all", all)
	<-ctx.Done()
	for _, conn := range held {
		conn.Release()
	}
}

func (n *nemesis) exhaust(ctx context.Context, f fault) error {
	m := n.fleet.pick(f.pick, 0)
	if m == nil {
		return errNothing
	}
	long := f.between(100*time.Millisecond, 3*time.Second)
	if err := m.order(order{Hold: long}); err != nil {
		return err
	}
	wait(ctx, long)

	return nil
}

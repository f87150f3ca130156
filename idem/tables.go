package idem

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/internal/tables"
)

func init() { //nolint:gochecknoinits // There is no other way from below.
	tables.Of = func(guard any) tables.Tables {
		g := guard.(*Guard) //nolint:forcetypeassert // That is what it is for.

		return tables.Tables{
			Consumer: g.consumer, On: g.names.on, NotWithin: g.notWithin,
			Do: func(ctx context.Context, use func(conn *pgxpool.Conn) error) error {
				return g.retried(ctx, func() error { return g.withConn(ctx, use) })
			},
		}
	}
}

package idem

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/internal/tables"
)

// Tables is for the packages of this module that keep tables of their own beside the guard's. Its type is internal
// and changes without notice.
func (g *Guard) Tables() tables.Tables {
	return tables.Tables{
		Consumer: g.consumer, On: g.names.on,
		Do: func(ctx context.Context, use func(conn *pgxpool.Conn) error) error {
			return g.retried(ctx, func() error { return g.withConn(ctx, use) })
		},
	}
}

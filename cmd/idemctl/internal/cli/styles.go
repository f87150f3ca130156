package cli

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
)

// setStyles has the server write times and intervals in the only form that pgx reads as text, which it
// does in some query execution modes.
func setStyles(ctx context.Context, conn *pgconn.PgConn) error {
	if _, err := conn.Exec(ctx, "SET datestyle = ISO; SET intervalstyle = postgres").ReadAll(); err != nil {
		return fmt.Errorf("set the styles of the session: %w", err)
	}

	return nil
}

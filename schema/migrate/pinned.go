package migrate

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/pressly/goose/v3/lock"
)

// pinned locks the session in which goose migrates, and pins its search_path for as long: what the
// lock's SQL names without a schema is PostgreSQL's, whatever others have created.
type pinned struct{ lock.SessionLocker }

const (
	pin = `SELECT pg_catalog.set_config('idem_migrator.search_path', pg_catalog.current_setting('search_path'), false),
		pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false)`
	unpin = `SELECT pg_catalog.set_config('search_path', pg_catalog.current_setting('idem_migrator.search_path'), false)`
)

func (p pinned) SessionLock(ctx context.Context, conn *sql.Conn) error {
	if _, err := conn.ExecContext(ctx, pin); err != nil {
		return fmt.Errorf("pin the search_path: %w", err)
	}
	if err := p.SessionLocker.SessionLock(ctx, conn); err != nil {
		_, unpinErr := conn.ExecContext(context.WithoutCancel(ctx), unpin)

		return errors.Join(err, unpinErr)
	}

	return nil
}

func (p pinned) SessionUnlock(ctx context.Context, conn *sql.Conn) error {
	err := p.SessionLocker.SessionUnlock(ctx, conn)
	_, unpinErr := conn.ExecContext(ctx, unpin)

	return errors.Join(err, unpinErr)
}

package migrate

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/pressly/goose/v3/lock"
)

// patience is how long a migration waits for another one in silence.
const patience = time.Second

// OnWait has tell called when a migration waits for another one for more than a second, once for
// each call of Up or To. Holder names the session that has the lock, for people. It is called from a
// goroutine of its own. Call OnWait before Up and To.
func (m *Migrator) OnWait(tell func(holder string)) { m.tell = tell }

// holderSQL finds the session that has the lock of migrations.
const holderSQL = `SELECT l.pid, coalesce(a.usename::pg_catalog.text, ''), coalesce(a.application_name, '')
FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid OPERATOR(pg_catalog.=) l.pid
WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory' AND l.granted AND l.objsubid OPERATOR(pg_catalog.=) 1
  AND l.database OPERATOR(pg_catalog.=) (SELECT oid FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
  AND l.classid OPERATOR(pg_catalog.=) 0 AND l.objid OPERATOR(pg_catalog.=) $1::pg_catalog.int8::pg_catalog.oid`

// tellingLocker tells for whom it waits.
type tellingLocker struct {
	lock.SessionLocker

	migrator *Migrator
}

// SessionLock waits for the lock.
func (l tellingLocker) SessionLock(ctx context.Context, conn *sql.Conn) error {
	timer := time.AfterFunc(patience, func() {
		if l.migrator.tell != nil {
			l.migrator.tell(l.migrator.holder(ctx))
		}
	})
	defer timer.Stop()
	if err := l.SessionLocker.SessionLock(ctx, conn); err != nil {
		return fmt.Errorf("wait for %s: %w", l.migrator.holder(ctx), err)
	}

	return nil
}

// holder names the session that has the lock.
func (m *Migrator) holder(ctx context.Context) string {
	var (
		pid               int32
		role, application string
	)
	if err := m.db.QueryRowContext(ctx, holderSQL, lockID).Scan(&pid, &role, &application); err != nil {
		return "another migration"
	}

	return fmt.Sprintf("the migration of pid %d (role %q, application %q)", pid, role, application)
}

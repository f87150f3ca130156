package migrate

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/nova-events/idempotent-consumer/internal/backoff"
)

const (
	// lockAttempts is how often a migration looks whether another one has ended: for five minutes.
	lockAttempts = 300
	lockInterval = time.Second
)

// OnWait has tell called when a migration waits for another one for more than a second, once for
// each call of Up or To, which wait for it. Holder names the session that has the lock, for people. Call OnWait
// before Up and To.
func (m *Migrator) OnWait(tell func(holder string)) { m.tell = tell }

// holderSQL finds the session that has the lock of migrations.
const holderSQL = `SELECT l.pid, coalesce(a.usename::pg_catalog.text, ''), coalesce(a.application_name, '')
FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid OPERATOR(pg_catalog.=) l.pid
WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory' AND l.granted AND l.objsubid OPERATOR(pg_catalog.=) 1
  AND l.database OPERATOR(pg_catalog.=) (SELECT oid FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
  AND l.classid OPERATOR(pg_catalog.=) 0 AND l.objid OPERATOR(pg_catalog.=) $1::pg_catalog.int8::pg_catalog.oid`

// locker has one migrator at a time at work in a database, by a lock of its session. Its SQL names the schema of everything, so that it
// means the same under every search_path, and leaves nothing else in the session: over a pooler others have that, too.
type locker struct{ migrator *Migrator }

// SessionLock waits for the lock: services that start together do.
func (l locker) SessionLock(ctx context.Context, conn *sql.Conn) error {
	for attempt := range lockAttempts {
		var locked bool
		if err := conn.QueryRowContext(ctx, "SELECT pg_catalog.pg_try_advisory_lock($1::pg_catalog.int8)", lockID).Scan(&locked); err != nil {
			return fmt.Errorf("take the lock: %w", err)
		}
		if locked {
			return nil
		}
		if attempt == 1 && l.migrator.tell != nil {
			l.migrator.tell(holder(ctx, conn))
		}
		if !backoff.Sleep(ctx, lockInterval) {
			return fmt.Errorf("wait for %s: %w", holder(context.WithoutCancel(ctx), conn), context.Cause(ctx))
		}
	}

	return fmt.Errorf("it has waited in vain for %s", holder(ctx, conn))
}

// SessionUnlock gives the lock back.
func (l locker) SessionUnlock(ctx context.Context, conn *sql.Conn) error {
	var unlocked bool
	err := conn.QueryRowContext(ctx, "SELECT pg_catalog.pg_advisory_unlock($1::pg_catalog.int8)", lockID).Scan(&unlocked)
	if err == nil && !unlocked {
		return errors.New("the lock was taken in another session, which still has it: a pooler is in between; connect to PostgreSQL itself")
	}

	return err
}

// holder names the session that has the lock.
func holder(ctx context.Context, conn *sql.Conn) string {
	var (
		pid               int32
		role, application string
	)
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := conn.QueryRowContext(ctx, holderSQL, lockID).Scan(&pid, &role, &application); err != nil {
		return "another migration"
	}

	return fmt.Sprintf("the migration of pid %d (role %q, application %q)", pid, role, application)
}

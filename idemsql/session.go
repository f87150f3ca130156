package idemsql

import (
	"context"
	"database/sql"
	"database/sql/driver"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/sqlbridge"
)

// store is a *sql.DB as package idem uses it.
type store struct{ db *sql.DB }

func (s store) Acquire(ctx context.Context) (sqlbridge.Session, error) {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return nil, explain(err)
	}

	return &session{querier: querier{conn}, db: s.db, conn: conn}, nil
}

// session is a connection of database/sql, and the transaction that it is in.
type session struct {
	querier

	db     *sql.DB
	conn   *sql.Conn
	tx     *sql.Tx
	broken bool
}

// Begin takes another connection if this one is lost: after a failover all that the pool has may be.
func (s *session) Begin(ctx context.Context, isolation pgx.TxIsoLevel) error {
	for stale := s.db.Stats().OpenConnections; ; stale-- {
		tx, err := s.conn.BeginTx(ctx, &sql.TxOptions{Isolation: levels[isolation]})
		if err == nil {
			s.tx, s.on = tx, tx

			return nil
		}
		if err = explain(err); stale == 0 || ctx.Err() != nil || !idem.IsTransient(err) {
			return err
		}
		s.Break()
		s.Release()
		another, err := s.db.Conn(ctx)
		if err != nil {
			return explain(err)
		}
		s.conn, s.broken = another, false
	}
}

// levels are the isolation levels that a Guard takes.
var levels = map[pgx.TxIsoLevel]sql.IsolationLevel{
	pgx.ReadCommitted:  sql.LevelReadCommitted,
	pgx.RepeatableRead: sql.LevelRepeatableRead,
	pgx.Serializable:   sql.LevelSerializable,
}

func (s *session) Commit() error   { return explain(s.tx.Commit()) }
func (s *session) Rollback() error { return explain(s.tx.Rollback()) }

// IsBusy asks pgx, which is left in disorder by a statement behind an open query.
func (s *session) IsBusy() (busy bool) {
	_ = s.conn.Raw(func(conn any) error { // It fails if the connection is gone.
		if c, ok := conn.(interface{ Conn() *pgx.Conn }); ok {
			busy = c.Conn().PgConn().IsBusy()
		}

		return nil
	})

	return busy
}

func (s *session) Break() { s.broken = true }

func (s *session) Release() {
	if s.broken {
		_ = s.conn.Raw(func(any) error { return driver.ErrBadConn }) // It has database/sql close the connection.
	}
	_ = s.conn.Close()
}

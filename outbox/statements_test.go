package outbox_test

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/internal/await"
	"github.com/nova-events/idempotent-consumer/internal/logbuffer"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/outbox"
)

// A pooler gives a relay a session that has somebody else's prepared statements. The relay goes on over another one.
func TestPreparedStatementsOfOthers(t *testing.T) {
	t.Parallel()
	for _, statement := range []string{"OutboxSnapshot", "OutboxLook"} {
		t.Run(statement, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			others := &bundle{db: b.db, log: b.log, pool: b.db.Pool(t, pgtest.MaxConns(1))}
			stop := others.start(t, nil)
			b.published(t, numbered(0, 1, 1)...)
			var name string
			await.Until(t, "a prepared statement", func() bool {
				const sql = `SELECT name FROM pg_prepared_statements WHERE statement LIKE '-- name: ' || $1 || ' %'`

				return others.pool.QueryRow(t.Context(), sql, statement).Scan(&name) == nil
			})
			b.awaitEmpty(t)
			stop()
			var sessions atomic.Int32
			relay := &bundle{db: b.db, log: b.log, pool: b.db.Pool(t, pgtest.MaxConns(1), func(config *pgxpool.Config) {
				config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
					if sessions.Add(1) > 1 {
						return nil
					}

					return conn.PgConn().Exec(ctx, "PREPARE "+pgx.Identifier{name}.Sanitize()+" AS SELECT 1").Close()
				}
			})}
			var told logbuffer.Buffer
			relay.start(t, func(c *outbox.Config) { c.Logger = slog.New(slog.NewTextHandler(&told, nil)) })
			b.published(t, numbered(1, 2, 1)...)
			b.awaitEmpty(t)
			b.wantInOrder(t, 3)
			await.Until(t, "the trouble in the log", func() bool { return strings.Contains(told.String(), "42P05") })
		})
	}
}

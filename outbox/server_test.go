package outbox_test

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/internal/await"
	"github.com/nova-events/idempotent-consumer/internal/logbuffer"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/outbox"
)

// Connections lead to another server, whose numbers of transactions mean something else, and none of them has broken: the relay
// notices and relays what is there.
func TestAnotherServer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, other := pgtest.NewForgetful(t)
	after := &bundle{db: other, pool: other.Pool(t), log: b.log}
	pool, move := movable(t, b.db)
	service := &bundle{pool: pool, log: b.log}
	for range 500 { // The numbers of the first server are higher.
		b.exec(t, `SELECT pg_current_xact_id()`)
	}
	service.start(t, nil)
	b.published(t, numbered(1, 1, 1)...)
	b.awaitEmpty(t)
	after.published(t, numbered(2, 1, 1)...)
	move(other)
	b.await(t, 2)
	after.published(t, numbered(3, 1, 1)...)
	after.awaitEmpty(t)
	want(t, b.log.values(), "1", "2", "3")
}

// A connection leads to a standby, as after a failover. The relay gives it up, and the next one leads to the primary.
func TestConnectionToAStandby(t *testing.T) {
	t.Parallel()
	pair := pgtest.NewPair(t)
	standby := pair.StandbyDB.Pool(t)
	await.Until(t, "the standby", func() bool { return standby.Ping(t.Context()) == nil })
	var connected atomic.Bool
	b := &bundle{db: pair.DB, log: &topicLog{}, pool: pair.DB.Pool(t)}
	relay := &bundle{log: b.log, pool: pair.DB.Pool(t, pgtest.MaxConns(1), func(config *pgxpool.Config) {
		config.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error {
			if !connected.Swap(true) {
				to := standby.Config().ConnConfig
				c.Host, c.Port, c.Database = to.Host, to.Port, to.Database
			}

			return nil
		}
	})}
	var told logbuffer.Buffer
	relay.start(t, func(c *outbox.Config) { c.Logger = slog.New(slog.NewTextHandler(&told, nil)) })
	b.published(t, numbered(0, 2, 1)...)
	b.awaitEmpty(t)
	await.Until(t, "the trouble in the log", func() bool {
		return strings.Contains(told.String(), "begin: ERROR: cannot set transaction read-write mode during recovery")
	})
}

// What the cursor has missed, a row with an old number for instance, is found when the relay looks at the whole table again.
func TestRelayLooksBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.startWith(t, nil, func(r *outbox.Relay) { r.LookBack(10 * time.Millisecond) })
	b.published(t, numbered(1, 1, 1)...)
	b.awaitEmpty(t)
	b.exec(t, `INSERT INTO idem.outbox (xid, event_id, topic, value) VALUES ('3', 'e', 'orders', 'restored')`)
	b.awaitEmpty(t)
	want(t, b.log.values(), "1", "restored")
}

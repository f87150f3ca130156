package outbox_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/await"
	"github.com/nova-events/idempotent-consumer/internal/logbuffer"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/outbox"
)

// The packets of a relay's connection vanish, from any statement on: no answer comes, and no error. The relay gives it up, says so, and goes
// on over another one.
func TestConnectionVanishes(t *testing.T) {
	t.Parallel()
	for _, statement := range []string{"OutboxSnapshot", "begin", "OutboxTakeTurn", "OutboxLook", "OutboxRead", "OutboxDelete", "commit"} {
		t.Run(statement, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			proxy := pgtest.NewProxy(t, b.db)
			relay := &bundle{db: b.db, log: b.log, pool: b.db.Pool(t, pgtest.Via(proxy.Addr()))}
			var told logbuffer.Buffer
			stop := relay.startWith(t, func(c *outbox.Config) {
				c.ProduceTimeout = time.Millisecond
				c.Logger = slog.New(slog.NewTextHandler(&told, nil))
			}, func(r *outbox.Relay) { r.Silence(500 * time.Millisecond) })
			b.published(t, numbered(0, 2, 1)...)
			b.awaitEmpty(t)
			vanished := proxy.CutNextStatement(pgtest.Swallow, func(sql string) bool { return strings.HasPrefix(strings.TrimPrefix(sql, "-- name: "), statement) })
			b.published(t, numbered(2, 2, 1)...)
			<-vanished
			b.exec(t, endTurn) // The server does so, too, when it has heard nothing for five seconds.
			b.awaitEmpty(t)
			b.wantInOrder(t, 4)
			await.Until(t, "the trouble in the log", func() bool { return strings.Contains(told.String(), "PostgreSQL does not let the relay work") })
			stop()
			proxy.CutAll() // pgx lingers at a connection that it closes.
		})
	}
}

// A relay that waits long for the turns of others has no trouble: it asks again.
func TestLongTurnsOfOthers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var told logbuffer.Buffer
	var turns atomic.Int32
	holder := b.begin(t)
	if _, err := holder.Exec(t.Context(), `SELECT pg_advisory_xact_lock($1)`, b.relay(t, nil).LockKey()); err != nil {
		t.Fatal(err)
	}
	b.published(t, numbered(0, 1, 1)...)
	b.startWith(t, func(c *outbox.Config) {
		c.ProduceTimeout = time.Millisecond
		c.Logger = slog.New(slog.NewTextHandler(&told, nil))
		c.Hooks.Turn = idem.Hook[outbox.TurnBegin, outbox.TurnEnd]{End: func(_ context.Context, _ outbox.TurnBegin, end outbox.TurnEnd) {
			if end.Err != nil && !errors.Is(end.Err, context.Canceled) {
				t.Errorf("a turn ended with %v", end.Err)
			}
			turns.Add(1)
		}}
	}, func(r *outbox.Relay) { r.Silence(10 * time.Second) })
	await.Until(t, "an answer that others have the turn", func() bool { return turns.Load() > 0 })
	commit(t, holder)
	b.awaitEmpty(t)
	if text := told.String(); text != "" {
		t.Errorf("it told of trouble: %s", text)
	}
}

package pgtest

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/internal/pgserver"
)

// catchUpTimeout bounds how long a subscription may take to receive what the old server has.
const catchUpTimeout = time.Minute

// Switchover is a server and the one that takes its place, to which logical replication copies
// its tables.
type Switchover struct {
	Old *DB // with the migrated tables
	New *DB // with nothing
}

// NewSwitchover starts both servers. They stop when the test ends.
func NewSwitchover(t testing.TB) *Switchover {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	start := func() *DB {
		server, err := pgserver.Start(ctx, pgserver.Config{Settings: map[string]string{"wal_level": "logical"}})
		if err != nil {
			t.Fatal(err)
		}
		stopAtTheEnd(t, server.Stop)

		return &DB{Name: ownDatabase, DSN: server.DSN(ownDatabase)}
	}
	s := &Switchover{New: start(), Old: start()} // The new server stops last: nobody replicates from it.
	migrated(ctx, t, s.Old.DSN)

	return s
}

// Publish publishes tables of the old server ("ALL TABLES", "TABLE a, b") and subscribes to them on the
// new one, which must have them.
func (s *Switchover) Publish(t testing.TB, tables string) {
	t.Helper()
	s.Old.do(t, func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "CREATE PUBLICATION switchover FOR "+tables)

		return err
	})
	s.New.do(t, func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "CREATE SUBSCRIPTION switchover CONNECTION '"+s.Old.DSN+"' PUBLICATION switchover")

		return err
	})
}

// Switch waits until the new server has all that the old one has, and ends the subscription.
func (s *Switchover) Switch(t testing.TB) {
	t.Helper()
	s.New.until(t, "SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel")
	s.Old.until(t, "SELECT bool_and(replay_lsn >= pg_current_wal_flush_lsn()) FROM pg_stat_replication WHERE application_name = 'switchover'")
	s.New.do(t, func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "DROP SUBSCRIPTION switchover")

		return err
	})
}

func (db *DB) do(t testing.TB, use func(context.Context, *pgx.Conn) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), catchUpTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx) //nolint:errcheck // use has told.
	if err := use(ctx, conn); err != nil {
		t.Fatal(err)
	}
}

// until repeats a query until it answers true.
func (db *DB) until(t testing.TB, query string) {
	t.Helper()
	db.do(t, func(ctx context.Context, conn *pgx.Conn) error {
		poll := time.NewTicker(10 * time.Millisecond)
		defer poll.Stop()
		for {
			var holds *bool // null as long as there is nothing to judge
			if err := conn.QueryRow(ctx, query).Scan(&holds); err != nil || holds != nil && *holds {
				return err
			}
			select {
			case <-poll.C:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	})
}

package migrate_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/schema"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

// A migration wants a session of its own. Over a pooler in transaction mode, against the documents, services have the same sessions
// meanwhile and afterwards: they must find them as they were.
func TestPooledSessionsStayAsTheyAre(t *testing.T) {
	t.Parallel()
	db := pgtest.NewEmptyDB(t)
	bouncer, err := pgtest.StartPgBouncer(t, db)
	if errors.Is(err, pgtest.ErrNoPgBouncer) {
		t.Skip(err)
	}
	config, err := pgx.ParseConfig(bouncer.DSN)
	if err != nil {
		t.Fatal(err)
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	handle := stdlib.OpenDB(*config)
	defer handle.Close() //nolint:errcheck // Nothing is pending on it.
	holder := open(t, db)
	if _, err := holder.ExecContext(t.Context(), "SELECT pg_catalog.pg_advisory_lock(x'6964656d'::pg_catalog.int8)"); err != nil {
		t.Fatal(err)
	}

	m := migrator(t, handle, schema.DefaultName)
	waits := make(chan string, 1)
	m.OnWait(func(who string) { waits <- who })
	ended := make(chan error, 1)
	go func() {
		_, err := m.Up(t.Context())
		ended <- err
	}()
	select {
	case <-waits:
	case err := <-ended:
		t.Fatal("it did not wait: ", err)
	case <-time.After(time.Minute):
		t.Fatal("it does not say that it waits")
	}
	services := stdlib.OpenDB(*config)
	defer services.Close() //nolint:errcheck // Nothing is pending on it.
	wantPath(t, services)
	if err := holder.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	wantPath(t, services)
}

// A lock that is left in another session holds up the next migration.
func TestLockThatIsInAnotherSession(t *testing.T) {
	t.Parallel()
	conn, err := open(t, pgtest.NewEmptyDB(t)).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // Nothing is pending on it.
	if err := migrate.Unlock(t.Context(), conn); err == nil || !strings.Contains(err.Error(), "a pooler is in between") {
		t.Error(err)
	}
}

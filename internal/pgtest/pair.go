package pgtest

import (
	"context"
	"testing"

	"github.com/nova-events/idempotent-consumer/internal/pgserver"
	"github.com/nova-events/idempotent-consumer/schema"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

// ownDatabase is the database of a server that one test has for itself.
const ownDatabase = "postgres"

// Pair is a primary and its standby for one test, which can let the primary die.
type Pair struct {
	*pgserver.Pair

	// DB is the database of whichever server is the primary, with the migrated tables.
	DB *DB

	// StandbyDB is the same on the standby, which can be read only until it is promoted.
	StandbyDB *DB
}

// NewPair starts a primary and a standby. They stop when the test ends.
func NewPair(t testing.TB) *Pair {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	pair, err := pgserver.StartPair(ctx, pgserver.Config{})
	if err != nil {
		t.Fatal(err)
	}
	stopAtTheEnd(t, pair.Stop)

	return &Pair{Pair: pair, DB: migrated(ctx, t, pair.DSN(ownDatabase)), StandbyDB: &DB{Name: ownDatabase, DSN: pair.Standby.DSN(ownDatabase)}}
}

// NewForgetful starts a server for one test, whose commits a crash can lose: see
// pgserver.Forgetful. It returns its database with the migrated tables.
func NewForgetful(t testing.TB) (*pgserver.Server, *DB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	server, err := pgserver.Start(ctx, pgserver.Config{Settings: pgserver.Forgetful()})
	if err != nil {
		t.Fatal(err)
	}
	stopAtTheEnd(t, server.Stop)

	return server, migrated(ctx, t, server.DSN(ownDatabase))
}

func stopAtTheEnd(t testing.TB, stop func() error) {
	t.Helper()
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func migrated(ctx context.Context, t testing.TB, dsn string) *DB {
	t.Helper()
	if err := migrate.Up(ctx, dsn, schema.DefaultName); err != nil {
		t.Fatal(err)
	}

	return &DB{Name: ownDatabase, DSN: dsn}
}

package idemtest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

const (
	// maxConns is the size of pools: enough for a race whose handlers take connections of their own.
	maxConns = 20

	// closeTimeout is how long a pool may wait for connections that were not given back.
	closeTimeout = 10 * time.Second
)

// database is what a pool of Pool leads to.
type database struct {
	proxy  *pgtest.Proxy
	direct string // the connection string that leads past the proxy
}

// databases are those of the tests that run.
var databases sync.Map // the pool's connection string → *database

// Pool returns a pool of connections to a fresh PostgreSQL database with the guard's tables in the schema
// idem and nothing else. When the test ends the pool is closed and the database is dropped. For
// database/sql, or a migrator that needs a URL, pool.Config().ConnString() connects to the same database.
//
// The server is the one that IDEM_TEST_DATABASE_URL names, with a superuser or a user who may create
// databases. Otherwise a temporary server is started, which ends with the test process: from the folder
// of PostgreSQL's programs that IDEM_TEST_PG names, from the programs that are installed on this
// machine, or from downloaded ones, which are kept in the user's cache. If there are none, the test
// fails.
//
// The connections go through a proxy in the test process, which cuts them for Crash. The proxy does not
// support TLS: the server of IDEM_TEST_DATABASE_URL must accept this user without it.
func Pool(t testing.TB) *pgxpool.Pool {
	t.Helper()
	pool, err := open(t)
	if err != nil {
		t.Fatalf("idemtest: %v", err)
	}

	return pool
}

func open(t testing.TB) (*pgxpool.Pool, error) {
	t.Helper()
	db := pgtest.NewServiceDB(t)
	proxy := pgtest.NewProxy(t, db)
	dsn, err := db.Through(proxy)
	if err != nil {
		return nil, err
	}
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	config.MaxConns = maxConns
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	databases.Store(dsn, &database{proxy: proxy, direct: db.DSN})
	t.Cleanup(func() {
		databases.Delete(dsn)
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			pool.Close()
		}()
		select {
		case <-closed:
		case <-time.After(closeTimeout):
			t.Errorf("idemtest: %d connections were not given back to the pool", pool.Stat().AcquiredConns())
		}
	})

	return pool, nil
}

// databaseOf returns the database of a pool of Pool's, or of one with its connection string.
func databaseOf(t testing.TB, pool *pgxpool.Pool) *database {
	t.Helper()
	found, ok := databases.Load(pool.Config().ConnString())
	if !ok {
		t.Fatal("idemtest: the pool is none of Pool, nor one with its ConnString, or its test has ended")
	}

	return found.(*database) //nolint:forcetypeassert // Nothing else is stored.
}

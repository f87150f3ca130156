package pgtest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

func TestMain(m *testing.M) { Main(m) }

func count(t *testing.T, pool *pgxpool.Pool, sql string, args ...any) int {
	t.Helper()
	var n int
	if err := pool.QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}

	return n
}

func mustExec(t *testing.T, pool *pgxpool.Pool, sql string) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func TestEachDatabaseIsFreshAndMigrated(t *testing.T) {
	t.Parallel()
	const insert = "INSERT INTO idem.consumers (id, name, retention) VALUES (idem.consumer_id('a'), 'a', '1 day')"
	for range 2 {
		pool := NewDB(t).Pool(t)
		if n := count(t, pool, "SELECT count(*) FROM idem.consumers"); n != 0 {
			t.Errorf("%d rows in a fresh database", n)
		}
		mustExec(t, pool, insert)
	}
}

// A service's connection string leads through the proxy, whatever it says of the server's address.
func TestServiceDatabaseThroughProxy(t *testing.T) {
	t.Parallel()
	db := NewServiceDB(t)
	cfg, err := pgx.ParseConfig(db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	proxy := NewProxy(t, db)
	keywords := &DB{DSN: fmt.Sprintf("host=%s port=%d user=%s password=%s dbname=%s", cfg.Host, cfg.Port, cfg.User, cfg.Password, cfg.Database)}
	for _, db := range []*DB{db, keywords} {
		dsn, err := db.Through(proxy)
		if err != nil {
			t.Fatal(err)
		}
		pool, err := pgxpool.New(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pool.Close)
		if n := count(t, pool, "SELECT count(*) FROM idem.consumers"); n != 0 {
			t.Errorf("%d rows in a fresh database", n)
		}
		if n := count(t, pool, "SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace"); n != 0 {
			t.Errorf("%d functions in the schema public", n)
		}
		proxy.Refuse()
		if err := pool.Ping(t.Context()); err == nil {
			t.Error("the connection does not lead through the proxy")
		}
		proxy.Resume()
	}
}

func TestEmptyDatabaseHasNoTables(t *testing.T) {
	t.Parallel()
	pool := NewEmptyDB(t).Pool(t)
	if n := count(t, pool, "SELECT count(*) FROM pg_catalog.pg_namespace WHERE nspname = 'idem'"); n != 0 {
		t.Error("the schema idem exists")
	}
}

func TestUnqualifiedNamesFail(t *testing.T) {
	t.Parallel()
	pool := NewDB(t).Pool(t)
	_, err := pool.Exec(t.Context(), "SELECT FROM processed_events")
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || pgErr.Code != "42P01" {
		t.Errorf("error = %v, want undefined_table", err)
	}
}

// What names no schema means something else in a hostile database.
func TestPublicIsHostile(t *testing.T) {
	t.Parallel()
	db := NewDB(t)
	for _, test := range []struct {
		sql     string
		options []PoolOption
		bent    bool
	}{
		{"SELECT 1 + 1", nil, false},
		{"SELECT unnest('{a}'::text[])", nil, true},
		{"SELECT pg_catalog.unnest('{a}'::text[])", nil, false},
		{"SELECT 1 + 1", []PoolOption{Hostile()}, true},
		{"SELECT 1 OPERATOR(pg_catalog.+) 1", []PoolOption{Hostile()}, false},
		{"SELECT now()", []PoolOption{Hostile()}, true},
		{"SELECT count(*) FROM idem.consumers", []PoolOption{Hostile()}, false}, // It counts nothing.
		{"SELECT count(*) FROM idem.idem_migrations", []PoolOption{Hostile()}, true},
		{"SELECT 'a'::text", []PoolOption{Hostile()}, true},
		{"SELECT 'a'::pg_catalog.text", []PoolOption{Hostile()}, false},
	} {
		if _, err := db.Pool(t, test.options...).Exec(t.Context(), test.sql); (err != nil) != test.bent {
			t.Errorf("%s: %v", test.sql, err)
		}
	}
}

func TestPoolOptions(t *testing.T) {
	t.Parallel()
	pool := NewEmptyDB(t).Pool(t, ExecMode(pgx.QueryExecModeExec), MaxConns(7))
	if n := pool.Config().MaxConns; n != 7 {
		t.Errorf("MaxConns = %d, want 7", n)
	}
	if mode := pool.Config().ConnConfig.DefaultQueryExecMode; mode != pgx.QueryExecModeExec {
		t.Errorf("mode = %v, want exec", mode)
	}
}

func TestDatabaseIsDroppedWithConnectionsOpen(t *testing.T) { //nolint:tparallel // It looks at what the subtest leaves.
	t.Parallel()
	var name string
	t.Run("use", func(t *testing.T) {
		db := NewDB(t)
		name = db.Name
		conn, err := pgx.Connect(t.Context(), db.DSN)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn // Left open: FORCE must close it.
	})
	if mustOpen(t).has(t, name) {
		t.Errorf("database %s outlived its test", name)
	}
}

func TestManyClonesAtOnce(t *testing.T) {
	t.Parallel()
	for range 8 {
		t.Run("clone", func(t *testing.T) {
			t.Parallel()
			if n := count(t, NewDB(t).Pool(t), "SELECT count(*) FROM idem.processed_events"); n != 0 {
				t.Errorf("%d rows in a fresh database", n)
			}
		})
	}
}

func TestWithDatabase(t *testing.T) {
	t.Parallel()
	for _, dsn := range []string{
		"postgres://u:p@localhost:5432/a?sslmode=disable",
		"postgres://u:p@localhost:5432",
		"host=localhost user=u password=p dbname=a",
	} {
		other, err := withDatabase(dsn, "b")
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := pgx.ParseConfig(other)
		if err != nil {
			t.Fatal(err)
		}
		if cfg.Database != "b" || cfg.Host != "localhost" || cfg.Password != "p" {
			t.Errorf("withDatabase(%q) = %q", dsn, other)
		}
	}
	if _, err := withDatabase("postgres://u:sec ret@%zz/", "b"); err == nil || strings.Contains(err.Error(), "sec") {
		t.Errorf("error = %v, want one without the password", err)
	}
}

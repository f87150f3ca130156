package pgtest

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// DB is a database of one test. It is dropped when the test ends.
type DB struct {
	Name string
	DSN  string // connection URL of a superuser

	// Service is the connection URL of a role with the rights that schema.Grants gives, and no others but to have
	// tables in the schema public. Empty if the database was not made by NewDB.
	Service string
}

// NewDB returns a fresh database with the migrated tables in the schema idem. Its schema public holds
// what bends SQL that does not name its schemas (hostile.sql).
func NewDB(t testing.TB) *DB {
	t.Helper()
	c := mustOpen(t)
	template, err := c.template()
	if err != nil {
		t.Fatal(err)
	}

	db := newDB(t, c, template)
	if db.Service, err = withUser(db.DSN, c.role(), c.password); err != nil {
		t.Fatal(err)
	}

	return db
}

// NewServiceDB is NewDB as a service finds it: its schema public is empty.
func NewServiceDB(t testing.TB) *DB {
	t.Helper()
	c := mustOpen(t)
	plain, err := c.plain()
	if err != nil {
		t.Fatal(err)
	}

	return newDB(t, c, plain)
}

// NewEmptyDB returns a fresh database without tables.
func NewEmptyDB(t testing.TB) *DB {
	t.Helper()
	c := mustOpen(t)
	empty, err := c.empty()
	if err != nil {
		t.Fatal(err)
	}

	return newDB(t, c, empty)
}

func mustOpen(t testing.TB) *cluster {
	t.Helper()
	c, err := openCluster()
	if err != nil {
		t.Fatal(err)
	}

	return c
}

func newDB(t testing.TB, c *cluster, template string) *DB {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), adminTimeout)
	defer cancel()
	name, err := c.create(ctx, template)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The test's own context is dead by now.
		ctx, cancel := context.WithTimeout(context.Background(), adminTimeout)
		defer cancel()
		if err := c.drop(ctx, name); err != nil {
			t.Error(err)
		}
	})
	dsn, err := withDatabase(c.dsn, name)
	if err != nil {
		t.Fatal(err)
	}

	return &DB{Name: name, DSN: dsn}
}

// PoolOption changes the configuration of a pool.
type PoolOption func(*pgxpool.Config)

// ExecMode sets the way in which pgx sends queries.
func ExecMode(mode pgx.QueryExecMode) PoolOption {
	return func(cfg *pgxpool.Config) { cfg.ConnConfig.DefaultQueryExecMode = mode }
}

// MaxConns sets the size of the pool. Default 4, or the number of CPUs if that is more.
func MaxConns(n int32) PoolOption {
	return func(cfg *pgxpool.Config) { cfg.MaxConns = n }
}

// Via makes the pool connect to another address, that of a Proxy or a PgBouncer.
func Via(address netip.AddrPort) PoolOption {
	return func(cfg *pgxpool.Config) {
		cfg.ConnConfig.Host, cfg.ConnConfig.Port = address.Addr().String(), address.Port()
		cfg.ConnConfig.TLSConfig = nil // A Proxy has to understand what it passes on.
		cfg.ConnConfig.Fallbacks = nil // They bypass the address.
	}
}

// Hostile puts the schema public before pg_catalog, so that every function, operator and type that
// names no schema is one of hostile.sql. Without it those win whose types match better.
func Hostile() PoolOption {
	return func(cfg *pgxpool.Config) { cfg.ConnConfig.RuntimeParams["search_path"] = "public, pg_catalog" }
}

// Pool returns a pool of connections to the database, of the role of a service where there is one, so that
// nothing needs more rights unnoticed. It is closed when the test ends. The search_path is the schema public
// alone, so that SQL with unqualified names fails.
func (db *DB) Pool(t testing.TB, options ...PoolOption) *pgxpool.Pool {
	t.Helper()

	return newPool(t, cmp.Or(db.Service, db.DSN), options...)
}

// OwnerPool is Pool for the role that owns the tables, which prepares what a test needs and looks at what is none of
// a service's business.
func (db *DB) OwnerPool(t testing.TB, options ...PoolOption) *pgxpool.Pool {
	t.Helper()

	return newPool(t, db.DSN, options...)
}

func newPool(t testing.TB, dsn string, options ...PoolOption) *pgxpool.Pool {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	cfg.ConnConfig.RuntimeParams["search_path"] = "public"
	for _, option := range options {
		option(cfg)
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)

	return pool
}

// Through returns the connection string that leads to the database by way of a Proxy.
func (db *DB) Through(proxy *Proxy) (string, error) {
	address := proxy.Addr()
	if !strings.Contains(db.DSN, "://") {
		return fmt.Sprintf("%s host=%s port=%d sslmode=disable", db.DSN, address.Addr(), address.Port()), nil // The last ones count.
	}
	parsed, err := url.Parse(db.DSN)
	if err != nil {
		return "", fmt.Errorf("%s is not a connection URL", envURL) // The cause may show a password.
	}
	parsed.Host = address.String()
	query := parsed.Query()
	query.Del("host")
	query.Del("port")
	query.Set("sslmode", "disable")
	parsed.RawQuery = query.Encode()

	return parsed.String(), nil
}

// withUser returns the connection string for another user.
func withUser(dsn, user, password string) (string, error) {
	if !strings.Contains(dsn, "://") {
		return dsn + " user=" + user + " password=" + password, nil // The last ones count.
	}
	parsed, err := url.Parse(dsn)
	if err != nil {
		return "", fmt.Errorf("%s is not a connection URL", envURL) // The cause may show a password.
	}
	parsed.User = url.UserPassword(user, password)

	return parsed.String(), nil
}

// withDatabase returns the connection string for another database of the same server. It
// knows both forms of connection strings.
func withDatabase(dsn, name string) (string, error) {
	if !strings.Contains(dsn, "://") {
		return dsn + " dbname=" + name, nil // The last one counts.
	}
	parsed, err := url.Parse(dsn)
	if err != nil {
		return "", fmt.Errorf("%s is not a connection URL", envURL) // The cause may show a password.
	}
	parsed.Path = "/" + name

	return parsed.String(), nil
}

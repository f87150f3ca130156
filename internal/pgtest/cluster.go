package pgtest

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/internal/pgserver"
	"github.com/nova-events/idempotent-consumer/schema"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

const (
	// envURL names a server to use instead of starting one.
	envURL = "IDEM_TEST_DATABASE_URL"

	// startTimeout has room for a download of PostgreSQL.
	startTimeout = 5 * time.Minute

	// adminTimeout bounds the creation and the removal of a database.
	adminTimeout = time.Minute

	// prefix begins the names of all databases. The id of their cluster follows.
	prefix = "idem_test_"

	// service makes the role of services, which may have tables of its own.
	service = `CREATE ROLE %[1]s LOGIN PASSWORD '%[2]s';
GRANT USAGE, CREATE ON SCHEMA public TO %[1]s;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO %[1]s;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON SEQUENCES TO %[1]s;
`

	// leftovers are the databases and the roles of test processes, and how to drop them, in an order that works.
	leftovers = `SELECT name, drop FROM (
	SELECT 1, datname::text, format('DROP DATABASE IF EXISTS %I WITH (FORCE)', datname) FROM pg_database
	UNION ALL SELECT 2, rolname::text, format('DROP ROLE IF EXISTS %I', rolname) FROM pg_roles
) AS o (turn, name, drop) WHERE starts_with(name, $1) ORDER BY turn`

	// lockSpace is the first half of the advisory locks' keys, "test".
	lockSpace = 0x74657374
)

// hostile is what each test database has in the schema public.
//
//go:embed hostile.sql
var hostile string

var errNoServer = errors.New("no PostgreSQL for the tests")

// cluster is this process's share of a PostgreSQL server: databases whose names begin with
// its id. Other processes may have theirs on the same server.
type cluster struct {
	id     string
	dsn    string           // of the database from which others are created and dropped
	server *pgserver.Server // nil if it is not ours
	admin  *pgxpool.Pool

	password string // of the role of services

	// alive holds the advisory lock on id for as long as this process lives. Whoever gets
	// the lock of another cluster knows that its process is gone, and what to clean up.
	alive *pgx.Conn

	databases atomic.Int64
	empty     func() (string, error) // of hostile.sql alone
	template  func() (string, error) // with the tables too
	plain     func() (string, error) // with the tables, without hostile.sql
}

var (
	opened      atomic.Pointer[cluster]
	openCluster = sync.OnceValues(func() (*cluster, error) {
		ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
		defer cancel()
		c, err := newCluster(ctx, os.Getenv(envURL))
		opened.Store(c)

		return c, err
	})
)

// closeCluster removes what openCluster made, if it was called.
func closeCluster() error {
	if c := opened.Load(); c != nil {
		return c.close()
	}

	return nil
}

// newCluster connects to the server at dsn, or starts one if dsn is empty.
func newCluster(ctx context.Context, dsn string) (*cluster, error) {
	c := &cluster{dsn: dsn, password: rand.Text()}
	c.empty, c.template = sync.OnceValues(c.createEmpty), sync.OnceValues(c.createTemplate)
	c.plain = sync.OnceValues(c.createPlain)
	if dsn == "" {
		var err error
		if c.server, err = pgserver.Start(ctx, pgserver.Config{}); err != nil {
			return nil, fmt.Errorf("%w: set %s to the URL of a superuser, or let the tests start a server themselves: %w", errNoServer, envURL, err)
		}
		c.dsn = c.server.DSN("postgres")
	}
	if err := c.connect(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", errNoServer, err), c.close()) //nolint:contextcheck // It also closes when ctx has ended.
	}

	return c, nil
}

func (c *cluster) connect(ctx context.Context) error {
	var err error
	if c.admin, err = pgxpool.New(ctx, c.dsn); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if c.alive, err = pgx.Connect(ctx, c.dsn); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if err := c.lockID(ctx); err != nil {
		return err
	}

	return c.sweep(ctx)
}

// lockID chooses an id and locks it.
func (c *cluster) lockID(ctx context.Context) error {
	var id [4]byte
	_, _ = rand.Read(id[:]) // It never fails.
	c.id = hex.EncodeToString(id[:])
	if _, err := c.alive.Exec(ctx, "SELECT pg_advisory_lock($1, $2)", lockSpace, lockKey(id)); err != nil {
		return fmt.Errorf("lock the id of this test process: %w", err)
	}

	return nil
}

func lockKey(id [4]byte) int32 {
	return int32(binary.BigEndian.Uint32(id[:])) //nolint:gosec // Any 32 bits are a key.
}

// leftover is a database or a role of a test process.
type leftover struct{ Name, Drop string }

// sweep drops what test processes that were killed have left.
func (c *cluster) sweep(ctx context.Context) error {
	found, err := c.leftovers(ctx, prefix)
	if err != nil {
		return err
	}
	for _, left := range found {
		var id [4]byte
		text, _, _ := strings.Cut(strings.TrimPrefix(left.Name, prefix), "_")
		if n, err := hex.Decode(id[:], []byte(text)); err != nil || n != len(id) || text == c.id {
			continue
		}
		if err := c.dropIfAbandoned(ctx, left, lockKey(id)); err != nil {
			return err
		}
	}

	return nil
}

// dropIfAbandoned drops it if its cluster's lock is free. The lock is tried in a session of its own, because a
// session gets a lock again that it has already.
func (c *cluster) dropIfAbandoned(ctx context.Context, left leftover, key int32) error {
	conn, err := c.admin.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Release()

	var abandoned bool
	if err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1, $2)", lockSpace, key).Scan(&abandoned); err != nil {
		return fmt.Errorf("try the lock of another test process: %w", err)
	}
	if !abandoned {
		return nil
	}
	dropErr := c.exec(ctx, left.Drop)
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_unlock($1, $2)", lockSpace, key); err != nil {
		return errors.Join(dropErr, fmt.Errorf("unlock: %w", err))
	}

	return dropErr
}

func (c *cluster) leftovers(ctx context.Context, prefix string) ([]leftover, error) {
	rows, err := c.admin.Query(ctx, leftovers, prefix)
	if err != nil {
		return nil, fmt.Errorf("list what test processes have left: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[leftover])
	if err != nil {
		return nil, fmt.Errorf("list what test processes have left: %w", err)
	}

	return found, nil
}

// createEmpty creates the database of which all others are copies.
func (c *cluster) createEmpty() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), adminTimeout)
	defer cancel()
	name, dsn, err := c.createFrom(ctx, "template0")
	if err != nil {
		return "", err
	}
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return "", fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(ctx) //nolint:errcheck // Nothing is pending on it.
	if _, err := conn.PgConn().Exec(ctx, hostile).ReadAll(); err != nil {
		return "", fmt.Errorf("make the schema public of the tests hostile: %w", err)
	}

	return name, nil
}

// createTemplate creates the database of which those with tables are copies.
func (c *cluster) createTemplate() (string, error) {
	empty, err := c.empty()
	if err != nil {
		return "", err
	}

	name, err := c.createMigrated(empty)
	if err != nil {
		return "", err
	}

	return name, c.createRole(name)
}

// role is the name of the role of services.
func (c *cluster) role() string { return prefix + c.id }

// createRole creates the role of services, with its rights in a database and so in the copies of that.
func (c *cluster) createRole(database string) error {
	ctx, cancel := context.WithTimeout(context.Background(), adminTimeout)
	defer cancel()
	dsn, err := withDatabase(c.dsn, database)
	if err != nil {
		return err
	}
	grants, err := schema.Grants(schema.DefaultName, c.role())
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(ctx) //nolint:errcheck // Nothing is pending on it.
	if _, err := conn.PgConn().Exec(ctx, fmt.Sprintf(service, c.role(), c.password)+grants).ReadAll(); err != nil {
		return fmt.Errorf("create the role of services: %w", err)
	}

	return nil
}

// createPlain creates the database of which those of services are copies.
func (c *cluster) createPlain() (string, error) { return c.createMigrated("template0") }

// createMigrated creates a copy of a database and the tables in it.
func (c *cluster) createMigrated(from string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), adminTimeout)
	defer cancel()
	name, dsn, err := c.createFrom(ctx, from)
	if err != nil {
		return "", err
	}
	if err := migrate.Up(ctx, dsn, schema.DefaultName); err != nil {
		return "", fmt.Errorf("create the tables of the test template: %w", err)
	}

	return name, nil
}

// createFrom creates a database as create does, and returns how to connect to it too.
func (c *cluster) createFrom(ctx context.Context, template string) (name, dsn string, err error) {
	if name, err = c.create(ctx, template); err == nil {
		dsn, err = withDatabase(c.dsn, name)
	}

	return name, dsn, err
}

// create creates a database as a copy of another, to which nobody may be connected.
func (c *cluster) create(ctx context.Context, template string) (string, error) {
	name := prefix + c.id + "_" + strconv.FormatInt(c.databases.Add(1), 10)
	sql := "CREATE DATABASE " + pgx.Identifier{name}.Sanitize() + " TEMPLATE " + pgx.Identifier{template}.Sanitize()
	if _, err := c.admin.Exec(ctx, sql); err != nil {
		return "", fmt.Errorf("create a test database: %w", err)
	}

	return name, nil
}

func (c *cluster) drop(ctx context.Context, name string) error {
	return c.exec(ctx, "DROP DATABASE IF EXISTS "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)")
}

func (c *cluster) exec(ctx context.Context, sql string) error {
	if _, err := c.admin.Exec(ctx, sql); err != nil {
		return fmt.Errorf("%s: %w", sql, err)
	}

	return nil
}

// close drops what is left of this process's databases, and its role, and stops the server if it is ours.
func (c *cluster) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), adminTimeout)
	defer cancel()

	var errs []error
	if c.id != "" && c.server == nil {
		errs = append(errs, c.dropAll(ctx))
	}
	if c.alive != nil {
		_ = c.alive.Close(ctx) // The lock goes with the connection, however that ends.
	}
	if c.admin != nil {
		c.admin.Close()
	}
	if c.server != nil {
		errs = append(errs, c.server.Stop())
	}

	return errors.Join(errs...)
}

func (c *cluster) dropAll(ctx context.Context) error {
	found, err := c.leftovers(ctx, prefix+c.id)
	errs := []error{err}
	for _, left := range found {
		errs = append(errs, c.exec(ctx, left.Drop))
	}

	return errors.Join(errs...)
}

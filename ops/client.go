package ops

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/readable"
	"github.com/nova-events/idempotent-consumer/internal/tables"
	"github.com/nova-events/idempotent-consumer/schema"
)

// Config describes a Client. The zero value has good defaults.
type Config struct {
	// Schema is the PostgreSQL schema of the guard's tables. Default "idem".
	Schema string

	// Logger gets retries, at level warn. Default: nothing is logged.
	Logger *slog.Logger
}

// Client operates on the guard's tables in one schema of one database. It is safe for concurrent use.
type Client struct {
	pool    *pgxpool.Pool
	conn    db.DBTX // speaks to the tables in the chosen schema
	queries *db.Queries
	schema  string
	log     *slog.Logger
}

// Progress is told that done of total is done. The total is an estimate and can grow.
type Progress func(done, total int64)

// tell calls p unless it is nil.
func (p Progress) tell(done, total int64) {
	if p != nil {
		p(done, total)
	}
}

// New returns a Client. It does no I/O. The pool needs no special settings; the caller closes it.
// Errors wrap ErrInvalid.
func New(pool *pgxpool.Pool, config Config) (*Client, error) {
	name := cmp.Or(config.Schema, schema.DefaultName)
	if pool == nil {
		return nil, invalid("the pool is nil; make one with pgxpool.New")
	}
	if err := schema.Validate(name); err != nil {
		return nil, invalid("%w", err)
	}

	return &Client{
		pool: pool, conn: tables.Qualified{DBTX: pool, Schema: name}, queries: db.New(), schema: name,
		log: cmp.Or(config.Logger, slog.New(slog.DiscardHandler)),
	}, nil
}

// Check returns an error if the tables are missing or older than this release. Call it first: its errors
// say what to do, and wrap idem.ErrNotMigrated or idem.ErrSchemaVersion. Newer tables, and tables without
// a version, are used as far as possible.
func (c *Client) Check(ctx context.Context) error {
	found, err := c.queries.TablesExist(ctx, c.conn)
	if err != nil {
		return fmt.Errorf("look for the guard's tables: %w", err)
	}
	if !found {
		return refuse(idem.ErrNotMigrated,
			"the schema %q of this database does not hold the guard's tables; create them with \"idemctl migrate up%s\", or name the right schema",
			c.schema, c.schemaFlag())
	}
	state, err := c.state(ctx)
	if err != nil || state.Version == 0 || state.Version >= schema.Version {
		return err
	}
	advice := fmt.Sprintf("run \"idemctl migrate up%s\" first", c.schemaFlag())
	if state.Foreign {
		advice = fmt.Sprintf("another migrator made them: have it apply the newer scripts of \"idemctl migrate print%s\"", c.schemaFlag())
	}

	return refuse(idem.ErrSchemaVersion, "the guard's tables in the schema %s are at version %d, older than the %d that this release needs; %s",
		c.schema, state.Version, schema.Version, advice)
}

// schemaFlag is what a suggested command needs behind it to be about the same schema.
func (c *Client) schemaFlag() string { return readable.SchemaFlag(c.schema) }

// failed says what failed, if anything did, and what to do about tables that lack something. Where another
// migrator made them, that is found out only here.
func (c *Client) failed(ctx context.Context, what string, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s: %w", what, err)
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || pgErr.Code != undefinedTable && pgErr.Code != undefinedColumn {
		return err
	}
	if state, stateErr := c.state(ctx); stateErr == nil && (state.Foreign || state.Version == 0) {
		return fmt.Errorf("%w\nThe tables may be older than this release: compare them with \"idemctl migrate print%s\"", err, c.schemaFlag())
	}

	return err
}

const (
	undefinedTable  = "42P01"
	undefinedColumn = "42703"
)

// guard returns the guard of a registered consumer.
func (c *Client) guard(ctx context.Context, name string) (*idem.Guard, error) {
	if _, err := c.consumer(ctx, name); err != nil {
		return nil, err
	}
	guard, err := idem.New(c.pool, idem.Config{Consumer: name, Schema: c.schema, Logger: c.log})
	if err != nil {
		return nil, fmt.Errorf("make a guard: %w", err)
	}

	return guard, nil
}

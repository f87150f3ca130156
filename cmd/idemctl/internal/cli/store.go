package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/schema"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

// store is the guard's tables in one schema of one database.
type store struct {
	pool    *pgxpool.Pool
	conn    db.DBTX // speaks to the tables in the chosen schema
	queries *db.Queries
	schema  string
	log     *slog.Logger
	state   migrate.State
}

// withStore runs fn with the guard's tables, if they are there and current.
func (a *app) withStore(command *cobra.Command, fn func(ctx context.Context, s *store) error) error {
	return a.withPool(command, func(ctx context.Context, pool *pgxpool.Pool) error {
		s := &store{
			pool:    pool,
			conn:    qualified{DBTX: pool, schema: a.settings.schema},
			queries: db.New(),
			schema:  a.settings.schema,
			log:     a.logger(),
		}
		if err := s.check(ctx); err != nil {
			return err
		}

		return s.explain(fn(ctx, s))
	})
}

// check finds out whether the tables are there and not older than this program.
func (s *store) check(ctx context.Context) error {
	var exists bool
	table := pgx.Identifier{s.schema, "processed_events"}.Sanitize()
	if err := s.pool.QueryRow(ctx, "SELECT pg_catalog.to_regclass($1) IS NOT NULL", table).Scan(&exists); err != nil {
		return fmt.Errorf("look for the guard's tables: %w", err)
	}
	if !exists {
		return fmt.Errorf("the schema %q of this database does not hold the guard's tables; create them with \"idemctl migrate up%s\", or name the right schema with --schema",
			s.schema, s.schemaArgument())
	}
	migrator, done, err := newMigrator(s.pool, s.schema)
	if err != nil {
		return err
	}
	defer done()
	s.state, err = migrator.State(ctx)
	if err != nil {
		return fmt.Errorf("read the schema's version: %w", err)
	}

	return s.checkVersion(migrator.Latest())
}

// checkVersion refuses tables that are older than this program. Newer ones are used as far as they can
// be, and so are those without a version.
func (s *store) checkVersion(latest int64) error {
	if s.state.Version == 0 || s.state.Version >= latest {
		return nil
	}
	old := fmt.Sprintf("the guard's tables in the schema %s are at version %d, older than the %d that this idemctl needs; ", s.schema, s.state.Version, latest)
	if s.state.Foreign {
		return errors.New(old + "another migrator made them: have it apply the newer scripts of \"idemctl migrate print" + s.schemaArgument() + "\"")
	}

	return errors.New(old + "run \"idemctl migrate up" + s.schemaArgument() + "\" first")
}

// schemaArgument is what a suggested command needs to be about the same schema.
func (s *store) schemaArgument() string {
	if s.schema == schema.DefaultName {
		return ""
	}

	return " --schema " + s.schema
}

// explain adds what to do about tables that lack something. Where another migrator made
// them, that is found out only here.
func (s *store) explain(err error) error {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && (pgErr.Code == "42P01" || pgErr.Code == "42703") && (s.state.Foreign || s.state.Version == 0) {
		return fmt.Errorf("%w\nThe tables may be older than this idemctl: compare them with \"idemctl migrate print\"", err)
	}

	return err
}

// consumer looks up a consumer that must be there: the guard would register an unknown one,
// a mistyped one too.
func (s *store) consumer(ctx context.Context, name string) (db.Consumer, error) {
	consumer, err := s.queries.ConsumerByName(ctx, s.conn, name)
	if !errors.Is(err, pgx.ErrNoRows) {
		if err != nil {
			err = fmt.Errorf("look up the consumer: %w", err)
		}

		return consumer, err
	}
	all, err := s.queries.ConsumerList(ctx, s.conn)
	if err != nil {
		return db.Consumer{}, fmt.Errorf("list the consumers: %w", err)
	}
	registered := "No consumer is registered."
	if len(all) > 0 {
		names := make([]string, len(all))
		for i, c := range all {
			names[i] = printable(c.Name)
		}
		registered = "Registered are: " + strings.Join(names, ", ")
	}

	return db.Consumer{}, errors.New(lines(
		fmt.Sprintf("the consumer %s is not registered", printable(name)),
		registered,
		fmt.Sprintf("If the name is right, register it with \"idemctl consumer register %s --retention 7d%s\".", shellWord(name), s.schemaArgument())))
}

// guard returns the guard of a registered consumer.
func (s *store) guard(ctx context.Context, name string) (*idem.Guard, error) {
	if _, err := s.consumer(ctx, name); err != nil {
		return nil, err
	}
	guard, err := idem.New(s.pool, idem.Config{Consumer: name, Schema: s.schema, Logger: s.log})
	if err != nil {
		return nil, fmt.Errorf("make a guard: %w", err)
	}

	return guard, nil
}

// newMigrator returns a migrator on the connections of a pool, and what gives them back.
func newMigrator(pool *pgxpool.Pool, name string) (*migrate.Migrator, func(), error) {
	handle := stdlib.OpenDBFromPool(pool)
	migrator, err := migrate.New(handle, name)
	if err != nil {
		_ = handle.Close()

		return nil, nil, err //nolint:wrapcheck // It says all.
	}

	return migrator, func() { _ = handle.Close() }, nil
}

// logger tells people about retries.
func (a *app) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(a.Stderr, &slog.HandlerOptions{
		Level: slog.LevelWarn,
		ReplaceAttr: func(_ []string, attr slog.Attr) slog.Attr {
			if err, ok := attr.Value.Any().(error); ok {
				attr.Value = slog.StringValue(a.errorText(err))
			}

			return attr
		},
	}))
}

// qualified sends the generated SQL to the tables in a schema of another name.
type qualified struct {
	db.DBTX

	schema string
}

func (q qualified) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	return q.DBTX.Exec(ctx, schema.Qualify(sql, q.schema), args...) //nolint:wrapcheck // It stands for the connection.
}

func (q qualified) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	return q.DBTX.Query(ctx, schema.Qualify(sql, q.schema), args...) //nolint:wrapcheck // It stands for the connection.
}

func (q qualified) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return q.DBTX.QueryRow(ctx, schema.Qualify(sql, q.schema), args...)
}

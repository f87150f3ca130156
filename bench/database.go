package main

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/schema"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

//go:embed tables.sql
var tables string

// consumerName is the guard's scope in all measurements.
const consumerName = "bench"

// database holds the tables of all subjects.
type database struct {
	dsn       string
	accounts  int
	prefilled int64
	admin     *pgxpool.Pool

	postmaster string // its process id
}

// newDatabase creates a database whose tables of processed events have that many rows.
func (s *servers) newDatabase(ctx context.Context, name string, accounts int, prefilled int64) (_ *database, err error) {
	if err := execute(ctx, s.postgres.DSN("postgres"), "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()); err != nil {
		return nil, fmt.Errorf("create a database: %w", err)
	}
	d := &database{dsn: s.postgres.DSN(name), accounts: accounts, prefilled: prefilled}
	if err := migrate.Up(ctx, d.dsn, schema.DefaultName); err != nil {
		return nil, fmt.Errorf("create the guard's tables: %w", err)
	}
	if err := execute(ctx, d.dsn, tables); err != nil {
		return nil, fmt.Errorf("create the other tables: %w", err)
	}
	if d.admin, err = d.pool(ctx, 1, nil); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			d.admin.Close()
		}
	}()
	if d.postmaster, err = d.text(ctx, "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)"); err != nil || prefilled == 0 {
		return d, err
	}
	for _, fill := range []string{
		`INSERT INTO idem.consumers (id, name, retention) VALUES (idem.consumer_id('` + consumerName + `'), '` + consumerName + `', '7 days')`,
		claimFills[uuid4],
		`INSERT INTO seed.processed_events (id, event_id)
		 SELECT gen_random_uuid(), gen_random_uuid()::text FROM generate_series(1, $1::bigint)`,
		`VACUUM ANALYZE idem.processed_events`, `VACUUM ANALYZE seed.processed_events`,
	} {
		var args []any
		if fill[len(fill)-9:] == "::bigint)" {
			args = append(args, prefilled)
		}
		if _, err := d.admin.Exec(ctx, fill, args...); err != nil {
			return nil, fmt.Errorf("fill the tables: %w", err)
		}
	}

	return d, nil
}

func (d *database) close() { d.admin.Close() }

// pool opens that many connections.
func (d *database) pool(ctx context.Context, connections int, tracer pgx.QueryTracer) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(d.dsn)
	if err != nil {
		return nil, fmt.Errorf("read the database's URL: %w", err)
	}
	config.MaxConns, config.MinConns = int32(connections), int32(connections) //nolint:gosec // There are few.
	config.ConnConfig.Tracer = tracer
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err == nil {
		err = pool.Ping(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
	}

	return pool, nil
}

// reset brings all tables to where every measurement begins, and writes them to the disk.
func (d *database) reset(ctx context.Context) error {
	claims := ", idem.processed_events, idem.results, seed.processed_events"
	if d.prefilled > 0 {
		claims = ""
	}
	for _, statement := range []string{
		"TRUNCATE bench.accounts, bench.ledger, bench.messages, idem.checkpoints, idem.outbox" + claims,
		fmt.Sprintf("INSERT INTO bench.accounts (id) SELECT generate_series(0, %d)", d.accounts-1),
		"VACUUM ANALYZE bench.accounts",
		"CHECKPOINT",
	} {
		if _, err := d.admin.Exec(ctx, statement); err != nil {
			return fmt.Errorf("reset the tables: %w", err)
		}
	}

	return nil
}

// number reads one number.
func (d *database) number(ctx context.Context, sql string) (n float64, err error) {
	if err := d.admin.QueryRow(ctx, sql).Scan(&n); err != nil {
		return 0, fmt.Errorf("ask PostgreSQL for %q: %w", sql, err)
	}

	return n, nil
}

// text reads one text.
func (d *database) text(ctx context.Context, sql string) (s string, err error) {
	if err := d.admin.QueryRow(ctx, sql).Scan(&s); err != nil {
		return "", fmt.Errorf("ask PostgreSQL for %q: %w", sql, err)
	}

	return s, nil
}

// execute runs statements on a connection of their own.
func execute(ctx context.Context, dsn, sql string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // Nothing is pending on it.
	if _, err := conn.Exec(ctx, sql); err != nil {
		return fmt.Errorf("execute: %w", err)
	}

	return nil
}

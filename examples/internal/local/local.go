// Package local runs an example: with the servers that the environment names, else with
// temporary ones.
package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/internal/pgserver"
	"github.com/nova-events/idempotent-consumer/schema"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

// Example is the part of an example's main function that is worth reading.
type Example func(ctx context.Context, pool *pgxpool.Pool) error

// Main runs an example, with a context that ends at ^C or SIGTERM and a pool of connections to
// the database at DATABASE_URL, which is migrated first. Without that variable the database is
// a temporary one.
func Main(run Example) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := withPostgres(ctx, run)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func withPostgres(ctx context.Context, run Example) (err error) {
	dsn := os.Getenv("DATABASE_URL")
	if dsn == "" {
		server, err := pgserver.Start(ctx, pgserver.Config{})
		if err != nil {
			return fmt.Errorf("start a temporary PostgreSQL (or set DATABASE_URL): %w", err)
		}
		defer func() { err = errors.Join(err, server.Stop()) }()
		dsn = server.DSN("postgres")
	}
	if err := migrate.Up(ctx, dsn, schema.DefaultName); err != nil {
		return fmt.Errorf("create the guard's tables: %w", err)
	}
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer pool.Close()

	return run(ctx, pool)
}

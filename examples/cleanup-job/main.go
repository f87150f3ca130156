// Cleanup-job forgets old events, periodically, until it is told to stop. A service that runs all the
// time does this in a goroutine of its own; every instance may, because only one works at a time.
//
// Without such a service, or where operators look after the database, use "idemctl cleanup" from a
// schedule in its place: cronjob.yaml is that for Kubernetes. One of the two is enough.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/schema"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

const usage = `set DATABASE_URL. For the PostgreSQL of examples/compose.yaml:
  docker compose up --detach --wait
  export DATABASE_URL=postgres://postgres:example@localhost:5432/postgres`

func main() {
	interval := flag.Duration("interval", time.Hour, "mean time between two passes")
	flag.Parse()
	if err := run(*interval); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(interval time.Duration) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	databaseURL := os.Getenv("DATABASE_URL")
	if databaseURL == "" {
		return errors.New(usage)
	}
	// The guard's tables. Who should create them, and when: see migrate-at-start.
	if err := migrate.Up(ctx, databaseURL, schema.DefaultName); err != nil {
		return err
	}
	pool, err := pgxpool.New(ctx, databaseURL)
	if err != nil {
		return err
	}
	defer pool.Close()

	log := slog.New(slog.NewTextHandler(os.Stdout, nil))
	cleaner, err := idem.NewCleaner(pool, idem.CleanerConfig{
		Interval: interval,
		Logger:   log, // It says after each pass what was deleted.
	})
	if err != nil {
		return err
	}
	log.InfoContext(ctx, "cleanup job runs", "interval", interval)

	return cleaner.Run(ctx) // nil once ctx has ended, in the middle of a pass, too
}

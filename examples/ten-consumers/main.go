// Ten-consumers has ten consumers race for the same events. Each event runs once.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/schema"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

const usage = `set DATABASE_URL. For the PostgreSQL of examples/compose.yaml:
  docker compose up --detach --wait
  export DATABASE_URL=postgres://postgres:example@localhost:5432/postgres`

const (
	consumers = 10
	events    = 100
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	databaseURL := os.Getenv("DATABASE_URL")
	if databaseURL == "" {
		return errors.New(usage)
	}
	// The guard's tables. Who should create them, and when: see migrate-at-start.
	if err := migrate.Up(ctx, databaseURL, schema.DefaultName); err != nil {
		return err
	}
	config, err := pgxpool.ParseConfig(databaseURL)
	if err != nil {
		return err
	}
	config.MaxConns = consumers // Else they also wait for connections.
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	defer pool.Close()
	if _, err := pool.Exec(ctx, `CREATE TABLE IF NOT EXISTS public.runs (event_id text, consumer integer)`); err != nil {
		return err
	}

	group, groupCtx := errgroup.WithContext(ctx)
	for i := range consumers {
		group.Go(func() error { return consume(groupCtx, pool, i) })
	}
	if err := group.Wait(); err != nil {
		return err
	}

	var runs, distinct int
	err = pool.QueryRow(ctx, `SELECT count(*), count(DISTINCT event_id) FROM public.runs`).Scan(&runs, &distinct)
	if err != nil {
		return err
	}
	fmt.Printf("%d consumers got %d events each; %d events ran, %d times in all\n", consumers, events, distinct, runs)

	return nil
}

// consume processes the events as one instance of a service: all instances share the consumer's name.
func consume(ctx context.Context, pool *pgxpool.Pool, instance int) error {
	guard, err := idem.New(pool, idem.Config{Consumer: "ten-consumers"})
	if err != nil {
		return err
	}
	processed := 0
	for n := range events {
		eventID := fmt.Sprintf("event-%d", n)
		outcome, err := guard.ProcessIfNew(ctx, eventID, func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `INSERT INTO public.runs VALUES ($1, $2)`, eventID, instance)

			return err
		})
		if err != nil {
			return err
		}
		if outcome == idem.Processed {
			processed++
		}
	}
	fmt.Printf("consumer %d processed %d events\n", instance, processed)

	return nil
}

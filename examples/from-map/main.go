// From-map moves from a map of processed event ids in memory to the guard, without running again what
// the map knows.
package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/schema"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

const usage = `set DATABASE_URL. For the PostgreSQL of examples/compose.yaml:
  docker compose up --detach --wait
  export DATABASE_URL=postgres://postgres:example@localhost:5432/postgres`

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
	pool, err := pgxpool.New(ctx, databaseURL)
	if err != nil {
		return err
	}
	defer pool.Close()
	guard, err := idem.New(pool, idem.Config{Consumer: "orders"})
	if err != nil {
		return err
	}

	// What the service has processed up to now. Take it over once, after the old instances have stopped
	// and before the new ones start. Should it fail half way, run it again.
	processed := map[string]bool{"order-1": true, "order-2": true, "order-3": true}
	marked, err := guard.MarkAllProcessed(ctx, slices.Collect(maps.Keys(processed)))
	if err != nil {
		return err
	}
	fmt.Println(marked, "events taken over from the map")

	// From here on what was
	//	if !processed[id] { handle(); processed[id] = true }
	// is
	for _, id := range []string{"order-3", "order-4", "order-4"} {
		outcome, err := guard.ProcessIfNew(ctx, id, func(context.Context, pgx.Tx) error {
			fmt.Println("handling", id)

			return nil
		})
		if err != nil {
			return err
		}
		fmt.Println(id, outcome)
	}

	return nil
}

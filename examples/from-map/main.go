// Move from a map of processed event ids in memory to the guard, without running again what
// the map knows.
package main

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/examples/internal/local"
	"github.com/nova-events/idempotent-consumer/idem"
)

func main() { local.Main(run) }

func run(ctx context.Context, pool *pgxpool.Pool) error {
	// What the service has processed up to now.
	processed := map[string]bool{"order-1": true, "order-2": true, "order-3": true}

	guard, err := idem.New(pool, idem.Config{Consumer: "orders"})
	if err != nil {
		return err
	}
	// Once, after the old instances have stopped and before the new ones start. Should it
	// fail half way, run it again.
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

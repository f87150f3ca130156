// Ten consumers get the same events at the same time. Each event runs once.
package main

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/nova-events/idempotent-consumer/examples/internal/local"
	"github.com/nova-events/idempotent-consumer/idem"
)

const (
	consumers = 10
	events    = 100
)

func main() { local.Main(run) }

func run(ctx context.Context, pool *pgxpool.Pool) error {
	if _, err := pool.Exec(ctx, `CREATE TABLE IF NOT EXISTS public.runs (event_id text, consumer integer)`); err != nil {
		return fmt.Errorf("create a table: %w", err)
	}
	group, groupCtx := errgroup.WithContext(ctx)
	for i := range consumers {
		group.Go(func() error { return consume(groupCtx, pool, i) })
	}
	if err := group.Wait(); err != nil {
		return err
	}

	var runs, distinct int
	err := pool.QueryRow(ctx, `SELECT count(*), count(DISTINCT event_id) FROM public.runs`).Scan(&runs, &distinct)
	if err != nil {
		return fmt.Errorf("count the runs: %w", err)
	}
	fmt.Printf("%d consumers got %d events each; %d events ran, %d times in all\n", consumers, events, distinct, runs)

	return nil
}

// consume processes the events as one instance of a service: all share the consumer's name.
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

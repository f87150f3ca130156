// Batch-handler consumes a topic of orders in batches: one statement and one COMMIT for all records
// that have come meanwhile, up to 500. It is the fastest form of a handler, for consumers that catch
// up with a backlog or add things up.
//
// It uses franzadapter. With kafkaadapter only the import and the two calls of the package differ.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/franzadapter"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/schema"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

const usage = `set DATABASE_URL and KAFKA_BROKERS (host:port,...). For the servers of examples/compose.yaml:
  docker compose up --detach --wait
  export DATABASE_URL=postgres://postgres:example@localhost:5432/postgres KAFKA_BROKERS=localhost:9092`

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	databaseURL, brokers := os.Getenv("DATABASE_URL"), os.Getenv("KAFKA_BROKERS")
	if databaseURL == "" || brokers == "" {
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
	// The service's own table. A real service has migrations for it.
	_, err = pool.Exec(ctx, `CREATE TABLE IF NOT EXISTS public.revenue (customer text PRIMARY KEY, cents bigint NOT NULL)`)
	if err != nil {
		return err
	}

	log := slog.New(slog.NewTextHandler(os.Stdout, nil))
	guard, err := idem.New(pool, idem.Config{Consumer: "revenue", Logger: log})
	if err != nil {
		return err
	}
	consumer, err := franzadapter.New(guard, franzadapter.Config{
		Brokers: strings.Split(brokers, ","),
		Group:   "revenue",
		Topics:  []string{"orders"},
	}, consume.Config{
		EventID:     consume.Header("idempotency_key"),
		HandleBatch: handle,
		Logger:      log,
	})
	if err != nil {
		return err
	}

	return consumer.Run(ctx)
}

type order struct {
	Customer string `json:"customer"`
	Cents    int64  `json:"cents"`
}

// handle gets records of one partition, in their order, without those whose events were processed
// before. All of them take effect together. If it fails, it runs again with halves of the batch until
// the record at fault stands alone.
func handle(ctx context.Context, tx pgx.Tx, batch []consume.Message) error {
	customers, cents := make([]string, len(batch)), make([]int64, len(batch))
	for i, m := range batch {
		var o order
		if err := json.Unmarshal(m.Value, &o); err != nil {
			// EventError names the record at fault, which saves the search.
			return &idem.EventError{Index: i, Err: consume.Permanent(fmt.Errorf("decode the order: %w", err))}
		}
		customers[i], cents[i] = o.Customer, o.Cents
	}

	fmt.Println(len(batch), "orders of partition", batch[0].Partition)
	// Batches of other partitions update the same rows at the same time. ORDER BY has all of them lock
	// the rows in one order; otherwise they can deadlock, which is tried again but takes time.
	_, err := tx.Exec(ctx, `
		INSERT INTO public.revenue
		SELECT customer, sum(cents) FROM unnest($1::text[], $2::bigint[]) AS o (customer, cents)
		GROUP BY customer ORDER BY customer
		ON CONFLICT (customer) DO UPDATE SET cents = revenue.cents + excluded.cents`, customers, cents)

	return err
}

// Queue-handler consumes a topic of orders with a handler that only queues statements. The statements
// of all records that have come meanwhile travel together, in one transaction. That is nearly as fast
// as batch-handler, and the logic is still that of one record.
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
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/kafkaadapter"
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
	// The service's own tables. A real service has migrations for them.
	_, err = pool.Exec(ctx, `
		CREATE TABLE IF NOT EXISTS public.accounts (customer text PRIMARY KEY, cents bigint NOT NULL);
		INSERT INTO public.accounts VALUES ('alice', 10000), ('bob', 10000) ON CONFLICT DO NOTHING`)
	if err != nil {
		return err
	}

	log := slog.New(slog.NewTextHandler(os.Stdout, nil))
	guard, err := idem.New(pool, idem.Config{Consumer: "accounts", Logger: log})
	if err != nil {
		return err
	}
	consumer, err := kafkaadapter.New(guard, kafkaadapter.Config{
		Brokers: strings.Split(brokers, ","),
		Group:   "accounts",
		Topics:  []string{"orders"},
	}, consume.Config{
		EventID:     consume.Header("idempotency_key"),
		HandleQueue: handle,
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

// handle returns before its statements run. They run in the order of the records, and those of a record
// whose event was processed before not at all.
func handle(_ context.Context, queue *pgx.Batch, m consume.Message) error {
	var o order
	if err := json.Unmarshal(m.Value, &o); err != nil {
		return consume.Permanent(fmt.Errorf("decode the order: %w", err))
	}
	fmt.Println("order", m.EventID, o.Customer, o.Cents)
	// What depends on an answer goes into such a function. Its error fails this record alone, and
	// nothing of the record takes effect.
	queue.Queue(`UPDATE public.accounts SET cents = cents - $2 WHERE customer = $1`, o.Customer, o.Cents).
		Exec(func(result pgconn.CommandTag) error {
			if result.RowsAffected() == 0 {
				return consume.Permanent(fmt.Errorf("%s has no account", o.Customer))
			}

			return nil
		})

	return nil
}

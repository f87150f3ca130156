// Kafka-consumer consumes a topic of orders. Each order takes effect once, however often it is
// delivered or produced. The handler gets one record at a time, with any logic in it; batch-handler
// and queue-handler show the faster forms.
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
	// When ctx ends, the consumer finishes the records in progress and leaves the group.
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
	// Each partition in progress has a connection. Add pool_max_conns=N to the URL for more than the
	// default of 4 (or one for each CPU): one for each partition that this process may own, and one more.
	pool, err := pgxpool.New(ctx, databaseURL)
	if err != nil {
		return err
	}
	defer pool.Close()
	// The service's own table. A real service has migrations for it.
	_, err = pool.Exec(ctx, `CREATE TABLE IF NOT EXISTS public.orders (event_id text, customer text, cents bigint)`)
	if err != nil {
		return err
	}

	log := slog.New(slog.NewTextHandler(os.Stdout, nil))
	// All instances of a service share the consumer's name, other services have others.
	guard, err := idem.New(pool, idem.Config{Consumer: "order-service", Logger: log})
	if err != nil {
		return err
	}
	consumer, err := kafkaadapter.New(guard, kafkaadapter.Config{
		Brokers: strings.Split(brokers, ","),
		Group:   "order-service",
		Topics:  []string{"orders"},
	}, consume.Config{
		EventID: consume.Header("idempotency_key"),
		Handle:  handle,
		Logger:  log,
	})
	if err != nil {
		return err
	}

	return consumer.Run(ctx) // nil once ctx has ended
}

type order struct {
	Customer string `json:"customer"`
	Cents    int64  `json:"cents"`
}

// handle writes through tx alone: what it writes is committed together with the claim of the event,
// or not at all. It may run several times for one record, and only one run is ever committed.
func handle(ctx context.Context, tx pgx.Tx, m consume.Message) error {
	var o order
	if err := json.Unmarshal(m.Value, &o); err != nil {
		// No other attempt can help, so the record becomes a dead letter at once ("idemctl
		// deadletter list"). Other errors are tried again first.
		return consume.Permanent(fmt.Errorf("decode the order: %w", err))
	}
	fmt.Println("order", m.EventID, o.Customer, o.Cents) // Outside of the transaction: can be printed again.
	_, err := tx.Exec(ctx, `INSERT INTO public.orders VALUES ($1, $2, $3)`, m.EventID, o.Customer, o.Cents)

	return err
}

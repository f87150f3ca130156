// Outbox sends messages from a handler: it publishes them in the handler's transaction, so that an order and the
// message about it are committed together or not at all, once for each event. With KAFKA_BROKERS it also runs the relay, which
// takes them to Kafka, until it is interrupted.
//
// The relay may send a message twice, after a crash for instance. Each has an event id in the header
// idempotency_key, by which consumers of this library recognize it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/kafkaadapter"
	"github.com/nova-events/idempotent-consumer/outbox"
	"github.com/nova-events/idempotent-consumer/schema"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

const usage = `set DATABASE_URL, and KAFKA_BROKERS to relay, too. For the servers of examples/compose.yaml:
  docker compose up --detach --wait
  export DATABASE_URL=postgres://postgres:example@localhost:5432/postgres KAFKA_BROKERS=localhost:9092`

// tables are the service's own. A real service has migrations for them.
const tables = `
CREATE TABLE IF NOT EXISTS public.orders_with_outbox (
    id       text PRIMARY KEY,
    customer text NOT NULL
);`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx)
	stop()
	if err != nil {
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
	if _, err := pool.Exec(ctx, tables); err != nil {
		return err
	}
	guard, err := idem.New(pool, idem.Config{Consumer: "orders-with-outbox"})
	if err != nil {
		return err
	}

	for _, orderID := range []string{"order-1", "order-2", "order-1"} {
		outcome, err := guard.ProcessIfNew(ctx, orderID, func(ctx context.Context, tx pgx.Tx) error {
			return accept(ctx, tx, orderID, "alice")
		})
		if err != nil {
			return err
		}
		fmt.Println(orderID, outcome)
	}
	if brokers := os.Getenv("KAFKA_BROKERS"); brokers != "" {
		return relay(ctx, pool, strings.Split(brokers, ","))
	}

	return nil
}

// accept stores an order and says so to other services. With a Kafka adapter it is called by
// consume.Config.Handle, with the same tx. The key keeps the order of one customer's messages.
func accept(ctx context.Context, tx pgx.Tx, orderID, customer string) error {
	if _, err := tx.Exec(ctx, `INSERT INTO public.orders_with_outbox VALUES ($1, $2)`, orderID, customer); err != nil {
		return err
	}
	value, err := json.Marshal(map[string]string{"order": orderID, "customer": customer})
	if err != nil {
		return err
	}

	return outbox.Publish(ctx, tx, outbox.Record{Topic: "accepted-orders", Key: []byte(customer), Value: value})
}

// relay takes the messages to Kafka. The topic has to exist.
func relay(ctx context.Context, pool *pgxpool.Pool, brokers []string) error {
	producer, err := kafkaadapter.NewProducer(kafkaadapter.ProducerConfig{Brokers: brokers})
	if err != nil {
		return err
	}
	defer producer.Close()
	relay, err := outbox.NewRelay(pool, producer, outbox.Config{})
	if err != nil {
		return err
	}

	return relay.Run(ctx)
}

// Outbox sends messages from a handler by writing them into a table, in the handler's transaction.
// So an order and the message about it are committed together or not at all, once for each event.
//
// A relay takes the rows to Kafka later and may send one twice, after a crash for instance. So each row
// has an id, made once, which is the event id of its message. The columns are those that Debezium's
// outbox event router expects by default; consumers then use consume.DebeziumOutbox().
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/schema"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

const usage = `set DATABASE_URL. For the PostgreSQL of examples/compose.yaml:
  docker compose up --detach --wait
  export DATABASE_URL=postgres://postgres:example@localhost:5432/postgres`

// tables are the service's own. A real service has migrations for them.
const tables = `
CREATE TABLE IF NOT EXISTS public.orders_with_outbox (
    id       text PRIMARY KEY,
    customer text NOT NULL
);
CREATE TABLE IF NOT EXISTS public.outbox (
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(), -- the event id of the message
    aggregatetype text NOT NULL,                              -- names the topic
    aggregateid   text NOT NULL,                              -- the message's key: keeps the order of one customer
    type          text NOT NULL,
    payload       jsonb NOT NULL
);`

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

	return nil
}

// accept stores an order and says so to other services. With a Kafka adapter it is called by
// consume.Config.Handle, with the same tx.
func accept(ctx context.Context, tx pgx.Tx, orderID, customer string) error {
	if _, err := tx.Exec(ctx, `INSERT INTO public.orders_with_outbox VALUES ($1, $2)`, orderID, customer); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO public.outbox (aggregatetype, aggregateid, type, payload)
		VALUES ('order', $1, 'OrderAccepted', jsonb_build_object('order', $2::text, 'customer', $1::text))`, customer, orderID)

	return err
}

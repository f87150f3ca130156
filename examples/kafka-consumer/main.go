// Consume a topic through the guard: each order takes effect once, however often it is
// delivered or produced.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/examples/internal/local"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/kafkaadapter"
)

const topic = "orders"

type order struct {
	Customer string `json:"customer"`
	Cents    int64  `json:"cents"`
}

func main() {
	local.Main(func(ctx context.Context, pool *pgxpool.Pool) error {
		log := slog.New(slog.NewTextHandler(os.Stdout, nil))
		if brokers := os.Getenv("KAFKA_BROKERS"); brokers != "" {
			return run(ctx, pool, strings.Split(brokers, ","), log)
		}

		return withBroker(ctx, func(brokers []string) error { return run(ctx, pool, brokers, log) })
	})
}

// run consumes until ctx ends.
func run(ctx context.Context, pool *pgxpool.Pool, brokers []string, log *slog.Logger) error {
	_, err := pool.Exec(ctx, `CREATE TABLE IF NOT EXISTS public.orders (customer text, cents bigint)`)
	if err != nil {
		return fmt.Errorf("create a table: %w", err)
	}
	guard, err := idem.New(pool, idem.Config{Consumer: "order-service"})
	if err != nil {
		return err
	}
	consumer, err := kafkaadapter.New(guard, kafkaadapter.Config{
		Brokers: brokers,
		Group:   "order-service",
		Topics:  []string{topic},
	}, consume.Config{
		EventID: consume.Header("idempotency_key"),
		Logger:  log,
		Handle: func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
			var o order
			if err := json.Unmarshal(m.Value, &o); err != nil {
				return fmt.Errorf("decode the order: %w", err)
			}
			log.InfoContext(ctx, "order", "event_id", m.EventID, "customer", o.Customer, "offset", m.Offset)
			_, err := tx.Exec(ctx, `INSERT INTO public.orders VALUES ($1, $2)`, o.Customer, o.Cents)

			return err
		},
	})
	if err != nil {
		return err
	}

	return consumer.Run(ctx) // returns nil at ^C or SIGTERM
}

// withBroker starts an in-process broker whose topic holds a few orders, one of them twice.
func withBroker(ctx context.Context, run func(brokers []string) error) (err error) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, topic))
	if err != nil {
		return fmt.Errorf("start a broker: %w", err)
	}
	defer cluster.Close()
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	writer := &kafka.Writer{
		Addr: kafka.TCP(cluster.ListenAddrs()...), Topic: topic, Transport: transport,
		RequiredAcks: kafka.RequireAll, BatchTimeout: 5 * time.Millisecond,
	}
	defer func() { err = errors.Join(err, writer.Close()) }()

	for _, o := range []struct{ id, value string }{
		{"order-1", `{"customer": "alice", "cents": 1200}`},
		{"order-2", `{"customer": "bob", "cents": 300}`},
		{"order-1", `{"customer": "alice", "cents": 1200}`},
	} {
		err := writer.WriteMessages(ctx, kafka.Message{
			Value: []byte(o.value), Headers: []kafka.Header{{Key: "idempotency_key", Value: []byte(o.id)}},
		})
		if err != nil {
			return fmt.Errorf("produce: %w", err)
		}
	}

	return run(cluster.ListenAddrs())
}

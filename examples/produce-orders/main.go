// Produce-orders sends the orders that the other examples consume. Each has an event id in a header,
// which is what the consumers tell events apart by. The first order is sent twice, as it happens when a
// producer tries again because an answer of the broker was lost.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
)

const usage = `set KAFKA_BROKERS (host:port,...). For the broker of examples/compose.yaml:
  docker compose up --detach --wait
  export KAFKA_BROKERS=localhost:9092`

const topic = "orders"

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	brokers := os.Getenv("KAFKA_BROKERS")
	if brokers == "" {
		return errors.New(usage)
	}
	address := kafka.TCP(strings.Split(brokers, ",")...)
	if err := createTopics(ctx, &kafka.Client{Addr: address}); err != nil {
		return err
	}
	writer := &kafka.Writer{
		Addr:         address,
		Topic:        topic,
		Balancer:     &kafka.Hash{},    // Records of one key keep their order.
		RequiredAcks: kafka.RequireAll, // Else an acknowledged record can be lost with its broker.
		BatchTimeout: 10 * time.Millisecond,
	}
	defer func() { err = errors.Join(err, writer.Close()) }()

	// The id is made once for an event, where the event is: not here, for each attempt to send it.
	first := order("order-1", "alice", `{"customer": "alice", "cents": 1200}`)
	second := order("order-2", "bob", `{"customer": "bob", "cents": 300}`)
	third := order("order-3", "alice", `{"customer": "alice", "cents": 50}`)
	if err := writer.WriteMessages(ctx, first, second, first, third); err != nil {
		return fmt.Errorf("produce: %w", err)
	}
	fmt.Println("4 records of 3 orders are sent")

	return nil
}

func order(eventID, customer, value string) kafka.Message {
	return kafka.Message{
		Key:     []byte(customer),
		Value:   []byte(value),
		Headers: []kafka.Header{{Key: "idempotency_key", Value: []byte(eventID)}},
	}
}

// createTopics creates that of the orders, and the one to which the example telemetry produces.
func createTopics(ctx context.Context, client *kafka.Client) error {
	for _, name := range []string{topic, "receipts"} {
		response, err := client.CreateTopics(ctx, &kafka.CreateTopicsRequest{
			Topics: []kafka.TopicConfig{{Topic: name, NumPartitions: 3, ReplicationFactor: -1}},
		})
		if err == nil {
			err = response.Errors[name]
		}
		if err != nil && !errors.Is(err, kafka.TopicAlreadyExists) {
			return fmt.Errorf("create the topic %s: %w", name, err)
		}
	}

	return nil
}

package kafkaadapter_test //nolint:testableexamples // It needs a broker; examples/kafka-consumer is run by a test.

import (
	"context"
	"encoding/json"
	"log/slog"
	"os/signal"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/kafkaadapter"
)

// A service consumes until it is told to stop. A payment that cannot be decoded will never be: it
// becomes a dead letter at once. Other errors are retried first.
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx); err != nil {
		slog.Error("the consumer has ended", "error", err)
	}
}

func serve(ctx context.Context) error {
	pool, err := pgxpool.New(ctx, "postgres://localhost/shop")
	if err != nil {
		return err
	}
	defer pool.Close()
	guard, err := idem.New(pool, idem.Config{Consumer: "payments"})
	if err != nil {
		return err
	}
	consumer, err := kafkaadapter.New(guard, kafkaadapter.Config{
		Brokers: []string{"localhost:9092"},
		Group:   "payments",
		Topics:  []string{"orders"},
	}, consume.Config{
		EventID: consume.FirstOf(consume.Header("idempotency_key"), consume.PayloadField("order.id")),
		Logger:  slog.Default(),
		Handle: func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
			var payment struct {
				Account string `json:"account"`
				Amount  int64  `json:"amount"`
			}
			if err := json.Unmarshal(m.Value, &payment); err != nil {
				return consume.Permanent(err)
			}
			_, err := tx.Exec(ctx, `UPDATE accounts SET balance = balance - $1 WHERE id = $2`, payment.Amount, payment.Account)

			return err
		},
	})
	if err != nil {
		return err
	}

	return consumer.Run(ctx) // nil after ctx has ended
}

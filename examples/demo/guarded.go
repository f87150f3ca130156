package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/kafkaadapter"
)

// consumeGuarded is a consumer behind the guard: the same business logic, in the transaction that
// claims the event, or the events of a batch.
func consumeGuarded(ctx context.Context, j job, pool *pgxpool.Pool, log *slog.Logger) error {
	guard, err := idem.New(pool, idem.Config{Consumer: "payments", Schema: j.Schema, Logger: log})
	if err != nil {
		return fmt.Errorf("make the guard: %w", err)
	}
	config := consume.Config{
		Logger:         log,
		CommitInterval: pollInterval, // So that the progress is seen.
		Hooks:          consume.Hooks{Event: tellRewinds},
	}
	if j.Consumer == batchConsumer {
		config.Batch.Size = j.BatchSize
		config.HandleBatch = applyBatch
	} else {
		config.OwnTransactions = true // As the naive one has: else it would be no comparison.
		config.Handle = func(ctx context.Context, tx pgx.Tx, m consume.Message) error { return apply(ctx, tx, m.Record) }
	}
	if j.BreakGuard {
		config.EventID = func(consume.Record) (string, error) { return uuid.NewString(), nil }
	}
	consumer, err := kafkaadapter.New(guard, j.source(), config)
	if err != nil {
		return fmt.Errorf("make the consumer: %w", err)
	}

	return consumer.Run(ctx)
}

// source is where the consumers behind the guard read.
func (j job) source() kafkaadapter.Config {
	return kafkaadapter.Config{
		Brokers:        j.Brokers,
		Group:          j.Group,
		Topics:         []string{j.Topic},
		SessionTimeout: j.SessionTimeout,
		// The in-process broker misses a consumer that was killed while it first joined only
		// when this has passed.
		RebalanceTimeout: j.SessionTimeout,
	}
}

// tellRewinds tells the demo, line by line, that PostgreSQL has lost commits and where the consumer
// reads again.
func tellRewinds(_ context.Context, e consume.Event) {
	if e.Kind == consume.EventRewound {
		fmt.Printf("partition %d rewound to %d\n", e.Partition, e.Offset)
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
)

// consumeNaively is the consumer that most services begin with: fetch, write, then commit the
// offset. As long as PostgreSQL keeps its commits it loses nothing, but whatever is delivered again
// is applied again. It is a careful one: it finishes the message at hand before it leaves.
func consumeNaively(ctx context.Context, j job, pool *pgxpool.Pool, log *slog.Logger) (err error) {
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers:           j.Brokers,
		GroupID:           j.Group,
		Topic:             j.Topic,
		StartOffset:       kafka.FirstOffset,
		MaxWait:           250 * time.Millisecond,
		SessionTimeout:    j.SessionTimeout,
		RebalanceTimeout:  j.SessionTimeout,
		HeartbeatInterval: j.SessionTimeout / 10,
		JoinGroupBackoff:  200 * time.Millisecond,
	})
	defer func() { err = errors.Join(err, reader.Close()) }()

	for {
		message, err := reader.FetchMessage(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil { // kafka.Reader passes on a rebalance's errors, but goes on by itself.
			log.WarnContext(ctx, "nothing is fetched", "error", err)

			continue
		}
		ctx := context.WithoutCancel(ctx)
		if err := applyInTransaction(ctx, pool, message); err != nil {
			return fmt.Errorf("apply: %w", err)
		}
		if err := reader.CommitMessages(ctx, message); err != nil {
			log.WarnContext(ctx, "the offset is not committed, so the message will come again", "error", err)
		}
	}
}

// applyInTransaction tries again for as long as PostgreSQL is away.
func applyInTransaction(ctx context.Context, pool *pgxpool.Pool, message kafka.Message) error {
	for {
		err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return apply(ctx, tx, record(message)) })
		if err == nil || !idem.IsTransient(err) {
			return err
		}
		time.Sleep(pollInterval) //nolint:forbidigo // As naive as the rest.
	}
}

// record is a message as the business logic takes it.
func record(m kafka.Message) consume.Record {
	r := consume.Record{Topic: m.Topic, Partition: int32(m.Partition), Offset: m.Offset, Value: m.Value} //nolint:gosec // Kafka's partitions have 32 bits.
	for _, h := range m.Headers {
		r.Headers = append(r.Headers, consume.RecordHeader(h))
	}

	return r
}

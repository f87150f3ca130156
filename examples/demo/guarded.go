package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/idem"
)

func consumeGuarded(ctx context.Context, j job, pool *pgxpool.Pool, log *slog.Logger) (err error) {
	guard, err := idem.New(pool, idem.Config{Consumer: "payments", Schema: j.Schema, Logger: log})
	if err != nil {
		return err
	}
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
		if err != nil {
			return err
		}
		ctx := context.WithoutCancel(ctx)
		id := eventID(message)
		if j.BreakGuard {
			id = uuid.NewString()
		}
		if _, err := guard.ProcessIfNew(ctx, id, func(ctx context.Context, tx pgx.Tx) error { return apply(ctx, tx, message) }); err != nil {
			return err
		}
		if err := reader.CommitMessages(ctx, message); err != nil {
			log.WarnContext(ctx, "commit", "error", err)
		}
	}
}

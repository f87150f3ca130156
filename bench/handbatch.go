package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/segmentio/kafka-go"
)

// batchesByHand is a hand-written reader of batches for each partition, side by side: the fairest peer of
// HandleBatch.
func batchesByHand(ctx context.Context, f *feed) error { return sideBySide(ctx, f, readBatches) }

// readBatches is the consumer of batches that one writes by hand: what the reader has fetched is
// gathered, its ids are inserted unless they are known, the business write of the others is one
// statement, and the offsets are committed after the transaction.
func readBatches(ctx context.Context, f *feed) (err error) {
	consumerID, err := registered(ctx, f.pool)
	if err != nil {
		return err
	}
	reader := f.reader(f.batch)
	defer func() { err = errors.Join(err, reader.Close()) }()
	messages, events := make([]kafka.Message, 0, f.batch), make([]event, 0, f.batch)
	for {
		messages, events = gather(ctx, reader, messages[:0]), events[:0]
		if ctx.Err() != nil {
			return nil
		}
		for _, m := range messages {
			e, err := decode(m)
			if err != nil {
				return err
			}
			events = append(events, e)
		}
		fresh, err := processByHand(context.WithoutCancel(ctx), f, consumerID, events)
		if err != nil {
			return fmt.Errorf("hand-written consumer of batches: %w", err)
		}
		for _, e := range fresh {
			f.done[e.Partition].Add(1)
		}
		_ = reader.CommitMessages(ctx, messages...) // Those that are not committed will come again.
	}
}

// gather waits for a message, and fills the batch with those that come soon after it.
func gather(ctx context.Context, reader *kafka.Reader, batch []kafka.Message) []kafka.Message {
	const soon = 5 * time.Millisecond
	batch = fetchUpTo(ctx, reader, batch, 1)
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()

	return fetchUpTo(ctx, reader, batch, cap(batch))
}

func fetchUpTo(ctx context.Context, reader *kafka.Reader, batch []kafka.Message, n int) []kafka.Message {
	for len(batch) < n && ctx.Err() == nil {
		m, err := reader.FetchMessage(ctx)
		if err == nil { // kafka.Reader passes on a rebalance's errors, but goes on by itself.
			batch = append(batch, m)
		}
	}

	return batch
}

// processByHand repeats a transaction that was the victim of a deadlock: after a rebalance the
// partition's former reader may still be at work on the same accounts.
func processByHand(ctx context.Context, f *feed, consumerID int64, events []event) ([]event, error) {
	for {
		fresh, err := transactByHand(ctx, f.pool, func(batch *pgx.Batch) freshOf { return claimByHand(batch, consumerID, events) })
		var pgErr *pgconn.PgError
		if !errors.As(err, &pgErr) || pgErr.Code != "40P01" {
			return fresh, err
		}
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/idemotel"
	"github.com/nova-events/idempotent-consumer/kafkaadapter"
)

// oneReader is the consumer that one writes by hand: a reader, a transaction for each message,
// whose id is inserted unless it is known, and the offset committed once a second.
func oneReader(ctx context.Context, f *feed) (err error) {
	consumerID, err := registered(ctx, f.pool)
	if err != nil {
		return err
	}
	reader := f.reader(1)
	defer func() { err = errors.Join(err, reader.Close()) }()
	for {
		m, err := reader.FetchMessage(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil { // kafka.Reader passes on a rebalance's errors, but goes on by itself.
			continue
		}
		e, err := decode(m)
		if err != nil {
			return err
		}
		fresh, err := handleByHand(context.WithoutCancel(ctx), f.pool, consumerID, e)
		if err != nil {
			return fmt.Errorf("hand-written consumer: %w", err)
		}
		f.did(e.Partition, fresh)         // A rebalance delivers some again.
		_ = reader.CommitMessages(ctx, m) // One that is not committed will come again.
	}
}

// reader makes a reader that fetches a batch ahead, and commits offsets once a second.
func (f *feed) reader(batch int) *kafka.Reader {
	const usual = 100 // kafka-go's QueueCapacity

	return kafka.NewReader(kafka.ReaderConfig{
		Brokers: f.brokers, GroupID: f.group, Topic: f.topic, StartOffset: kafka.FirstOffset, QueueCapacity: max(batch, usual),
		MaxWait: 500 * time.Millisecond, CommitInterval: time.Second,
		HeartbeatInterval: time.Second, SessionTimeout: 10 * time.Second, JoinGroupBackoff: 200 * time.Millisecond,
	})
}

// registered returns the id of the guard's consumer, for what is written by hand. The guard's table
// serves there, too: it has fewer columns and indexes than the seed's.
func registered(ctx context.Context, pool *pgxpool.Pool) (consumerID int64, err error) {
	guard, err := newGuard(ctx, &job{pool: pool})
	if err != nil {
		return 0, err
	}
	if err := pool.QueryRow(ctx, `SELECT id FROM idem.consumers WHERE name = $1`, guard.Consumer()).Scan(&consumerID); err != nil {
		return 0, fmt.Errorf("find the consumer: %w", err)
	}

	return consumerID, nil
}

func handleByHand(ctx context.Context, pool *pgxpool.Pool, consumerID int64, e event) (fresh int64, err error) {
	const claim = `INSERT INTO idem.processed_events (consumer_id, key, claim_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, claim, consumerID, e.ID, uuid.NewString())
		if err == nil && tag.RowsAffected() == 1 {
			_, err = tx.Exec(ctx, businessOne, e.ID, e.Account, e.Amount)
		}
		fresh = tag.RowsAffected()

		return err
	})
	if err != nil {
		return 0, fmt.Errorf("process a message: %w", err)
	}

	return fresh, nil
}

// aReaderEach is a hand-written reader for each partition, side by side.
func aReaderEach(ctx context.Context, f *feed) error { return sideBySide(ctx, f, oneReader) }

// sideBySide runs as many members of a group as there are partitions.
func sideBySide(ctx context.Context, f *feed, member func(context.Context, *feed) error) error {
	group, ctx := errgroup.WithContext(ctx)
	for range f.partitions {
		group.Go(func() error { return member(ctx, f) })
	}

	return group.Wait()
}

// consumeSingly is the library's consumer with a handler for single records.
func consumeSingly(ctx context.Context, f *feed) error {
	return f.run(ctx, consume.Config{Handle: handleOne})
}

func handleOne(ctx context.Context, tx pgx.Tx, m consume.Message) error {
	e, err := decodeRecord(m.Record)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, businessOne, e.ID, e.Account, e.Amount)

	return err
}

// consumeQueued is the library's consumer with a handler that queues the statements of single records.
func consumeQueued(ctx context.Context, f *feed) error {
	return f.run(ctx, consume.Config{HandleQueue: queueOne, Batch: consume.BatchConfig{Size: f.batch}})
}

func queueOne(_ context.Context, queue *pgx.Batch, m consume.Message) error {
	e, err := decodeRecord(m.Record)
	if err == nil {
		queue.Queue(businessOne, e.ID, e.Account, e.Amount)
	}

	return err
}

// consumeBatches is the library's consumer with a handler for batches, by keys and offsets.
func consumeBatches(ctx context.Context, f *feed) error {
	return f.run(ctx, consume.Config{HandleBatch: handleBatch, Batch: consume.BatchConfig{Size: f.batch}})
}

// consumeByOffsets is the same by offsets alone.
func consumeByOffsets(ctx context.Context, f *feed) error {
	return f.run(ctx, consume.Config{HandleBatch: handleBatch, Batch: consume.BatchConfig{Size: f.batch}, Mode: consume.ByCheckpoint})
}

func handleBatch(ctx context.Context, tx pgx.Tx, batch []consume.Message) error {
	rows := newColumns(len(batch))
	for _, m := range batch {
		e, err := decodeRecord(m.Record)
		if err != nil {
			return err
		}
		rows.add(e)
	}
	_, err := tx.Exec(ctx, businessMany, rows.args()...)

	return err
}

func (f *feed) run(ctx context.Context, config consume.Config) error {
	return f.runWatched(ctx, config, nil)
}

// runWatched is run with telemetry, unless that is nil.
func (f *feed) runWatched(ctx context.Context, config consume.Config, telemetry *idemotel.Telemetry) error {
	var hooks idem.Hooks
	config.Hooks.Process.End = func(_ context.Context, begin consume.ProcessBegin, end consume.ProcessEnd) {
		if end.Processed > 0 {
			f.did(begin.Messages.First.Partition, int64(end.Processed))
		}
	}
	if telemetry != nil {
		hooks, config.Hooks = telemetry.GuardHooks(hooks), telemetry.ConsumeHooks(config.Hooks)
	}
	guard, err := idem.New(f.pool, idem.Config{Consumer: f.group, Hooks: hooks}) // A consumer belongs to one group.
	if err != nil {
		return fmt.Errorf("make a guard: %w", err)
	}
	config.Logger = slog.New(slog.DiscardHandler)
	c, err := kafkaadapter.New(guard, kafkaadapter.Config{Brokers: f.brokers, Group: f.group, Topics: []string{f.topic}}, config)
	if err == nil {
		err = c.Run(ctx)
	}
	if err != nil {
		return fmt.Errorf("consumer: %w", err)
	}

	return nil
}

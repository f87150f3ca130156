package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

// consumeAtLeastOnce is what exactly once is paid over: the same batches, business write and
// transactions with neither claims nor a checkpoint, and the offsets committed to Kafka once a
// second, after the transactions. A crash doubles what was not committed to Kafka. The client is
// franz-go, the fastest there is; partitions are processed side by side.
func consumeAtLeastOnce(ctx context.Context, f *feed) error {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(f.brokers...), kgo.ConsumerGroup(f.group), kgo.ConsumeTopics(f.topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxWait(500*time.Millisecond), kgo.AutoCommitMarks(), kgo.AutoCommitInterval(time.Second),
	)
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	defer client.Close()
	group, ctx := errgroup.WithContext(ctx)
	fetched := make([]chan []*kgo.Record, f.partitions)
	for i := range fetched {
		fetched[i] = make(chan []*kgo.Record, 1)
		group.Go(func() error { return writeAll(ctx, f, client, fetched[i]) })
	}
	group.Go(func() error {
		for {
			fetches := client.PollFetches(ctx)
			if err := fetches.Err(); err != nil && ctx.Err() == nil {
				return fmt.Errorf("fetch: %w", err)
			}
			if ctx.Err() != nil {
				return nil //nolint:nilerr // That is how it ends.
			}
			fetches.EachPartition(func(p kgo.FetchTopicPartition) {
				select {
				case fetched[p.Partition] <- p.Records:
				case <-ctx.Done():
				}
			})
		}
	})

	return group.Wait()
}

// writeAll does the business write of what is fetched of a partition, until ctx ends.
func writeAll(ctx context.Context, f *feed, client *kgo.Client, fetched <-chan []*kgo.Record) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case records := <-fetched:
			for len(records) > 0 && ctx.Err() == nil {
				batch := records[:min(f.batch, len(records))]
				records = records[len(batch):]
				if err := write(context.WithoutCancel(ctx), f, batch); err != nil {
					return fmt.Errorf("consumer that delivers at least once: %w", err)
				}
				client.MarkCommitRecords(batch[len(batch)-1])
			}
		}
	}
}

func eventIDOf(r *kgo.Record) string {
	for _, header := range r.Headers {
		if header.Key == eventIDHeader {
			return string(header.Value)
		}
	}

	return ""
}

func write(ctx context.Context, f *feed, batch []*kgo.Record) error {
	rows := newColumns(len(batch))
	for _, r := range batch {
		e, err := parse(r.Partition, eventIDOf(r), r.Value)
		if err != nil {
			return err
		}
		rows.add(e)
	}
	err := pgx.BeginFunc(ctx, f.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, businessMany, rows.args()...)

		return err
	})
	if err != nil {
		return fmt.Errorf("business write: %w", err)
	}
	f.did(batch[0].Partition, int64(len(batch)))

	return nil
}

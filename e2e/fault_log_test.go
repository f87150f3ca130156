package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
)

// The log loses records: to compaction, which nobody minds, and to retention, which must not
// pass unnoticed.

func TestCompactedLog(t *testing.T) {
	t.Parallel()
	for name, codec := range map[string]kgo.CompressionCodec{
		"plain": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "lz4": kgo.Lz4Compression(),
		"snappy": kgo.SnappyCompression(), "zstd": kgo.ZstdCompression(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := broker.ApacheKafka(t)
			s := setup(t, b, 1)
			s.topic = b.CreateTopic(t, 1, broker.Settings{
				"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0",
				"max.compaction.lag.ms": "100", "delete.retention.ms": "0",
			})
			compressed := kgo.ProducerBatchCompression(codec)
			const batches, size, keys = 10, 100, 30
			for batch := range batches {
				records := events(batch*size, size, 1)
				for i := range records {
					// Some are replaced within their batch, others by the next, others never.
					if i%10 != 0 {
						records[i].Key = fmt.Appendf(nil, "key %d", (batch*7+i)%keys)
					}
				}
				b.Produce(t, s.topic, records, compressed)
			}
			next := batches * size
			var before []*kgo.Record
			until(t, "the log to be compacted", func() bool {
				// Kafka begins a new segment, and can compact the one before, only when
				// something is written.
				b.Produce(t, s.topic, events(next, 1, 1), compressed)
				next++
				before = b.Log(t, s.topic, 0)

				return len(before) < next/2
			})

			_, end := b.Ends(t, s.topic, 0)
			m := s.start(t, oneByOne) // Each batch has to be crossed.
			s.awaitCommitted(t, end)
			m.leave(t)
			got := s.effectIDs(t)
			s.verify(t, len(got))
			// Meanwhile the log may have shrunk once more.
			seen, left := eventIDs(before), eventIDs(b.Log(t, s.topic, 0))
			for _, id := range got {
				if !slices.Contains(seen, id) {
					t.Errorf("event %s took effect, which the log did not hold", id)
				}
			}
			for _, id := range left {
				if !slices.Contains(got, id) {
					t.Errorf("event %s did not take effect", id)
				}
			}
			t.Logf("of %d records %d were left, %d took effect", next, len(before), len(got))
		})
	}
}

func eventIDs(records []*kgo.Record) []string {
	var ids []string
	for _, r := range records {
		ids = append(ids, string(r.Headers[0].Value))
	}

	return ids
}

// Records expire while nobody consumes: the next member must not jump over them.
func TestLogTruncatedBeyondTheCommittedOffset(t *testing.T) {
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		s := setup(t, b, 1)
		b.Produce(t, s.topic, events(0, 50, 1))
		m := s.start(t, nil)
		s.awaitCommitted(t, 50)
		m.leave(t)
		b.Produce(t, s.topic, events(50, 50, 1))
		b.DeleteRecords(t, s.topic, 0, 80)
		if err := s.start(t, nil).wait(t); !errors.Is(err, consume.ErrOffsetOutOfRange) {
			t.Errorf("Run returned %v", err)
		}
		if got := s.committed(t); got != 50 {
			t.Errorf("the group's offset became %d", got)
		}
		s.verify(t, 50)
	})
}

// Records expire before a slow member comes to them.
func TestLogTruncatedUnderASlowMember(t *testing.T) {
	t.Parallel()
	broker.Each(t, func(t *testing.T, b *broker.Broker) {
		s := setup(t, b, 1)
		const n, kept = 60, 10
		b.Produce(t, s.topic, events(0, n, 1), kgo.MaxBufferedRecords(1)) // Each is a batch of its own.
		slow, release := make(chan struct{}), make(chan struct{})
		m := s.start(t, func(c *settings) {
			oneByOne(c)
			c.Handle = func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
				if m.Offset == 0 {
					close(slow)
					<-release
				}

				return record(ctx, tx, m)
			}
		})
		<-slow
		b.DeleteRecords(t, s.topic, 0, n-kept)
		close(release)
		if err := m.wait(t); !errors.Is(err, consume.ErrOffsetOutOfRange) {
			t.Errorf("Run returned %v", err)
		}
		got := s.effectIDs(t)
		if len(got) >= n-kept {
			t.Errorf("%d events took effect, though %d of %d were gone", len(got), n-kept, n)
		}
		s.verify(t, len(got))
	})
}

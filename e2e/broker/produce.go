package broker

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Write writes messages with kafka-go, each to the partition that it names.
func (b *Broker) Write(t testing.TB, topic string, messages ...kafka.Message) {
	t.Helper()
	writer := &kafka.Writer{
		Addr:         b.Client.Addr,
		Topic:        topic,
		Balancer:     kafka.BalancerFunc(func(m kafka.Message, _ ...int) int { return m.Partition }),
		RequiredAcks: kafka.RequireAll,
		BatchTimeout: time.Millisecond,
		Transport:    b.Client.Transport,
	}
	ctx, cancel := requestContext(t)
	defer cancel()
	if err := errors.Join(writer.WriteMessages(ctx, messages...), writer.Close()); err != nil {
		t.Fatalf("write to topic %s: %v", topic, err)
	}
}

// Produce writes messages with franz-go, each to the partition that it names, as an idempotent
// producer does. Options can change that, or compress:
//
//	kgo.ProducerBatchCompression(kgo.ZstdCompression())
func (b *Broker) Produce(t testing.TB, topic string, messages []kafka.Message, options ...kgo.Opt) {
	t.Helper()
	b.withProducer(t, topic, messages, options, func(client *kgo.Client, records []*kgo.Record) error {
		ctx, cancel := requestContext(t)
		defer cancel()

		return client.ProduceSync(ctx, records...).FirstErr()
	})
}

// ProduceTransaction is Produce in a transaction of Kafka, which ends with kgo.TryCommit or
// kgo.TryAbort.
func (b *Broker) ProduceTransaction(t testing.TB, topic string, end kgo.TransactionEndTry, messages []kafka.Message, options ...kgo.Opt) {
	t.Helper()
	options = append(options, kgo.TransactionalID(Name(t)))
	b.withProducer(t, topic, messages, options, func(client *kgo.Client, records []*kgo.Record) error {
		ctx, cancel := requestContext(t)
		defer cancel()
		if err := client.BeginTransaction(); err != nil {
			return fmt.Errorf("begin the transaction: %w", err)
		}
		err := client.ProduceSync(ctx, records...).FirstErr()

		return errors.Join(err, client.EndTransaction(ctx, end))
	})
}

func (b *Broker) withProducer(t testing.TB, topic string, messages []kafka.Message, options []kgo.Opt, produce func(*kgo.Client, []*kgo.Record) error) {
	t.Helper()
	options = append([]kgo.Opt{
		kgo.SeedBrokers(b.Addrs...),
		kgo.DefaultProduceTopic(topic),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
	}, options...)
	client, err := kgo.NewClient(options...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()

	records := make([]*kgo.Record, len(messages))
	for i, m := range messages {
		records[i] = &kgo.Record{Partition: int32(m.Partition), Key: m.Key, Value: m.Value, Timestamp: m.Time} //nolint:gosec // It is a partition.
		for _, h := range m.Headers {
			records[i].Headers = append(records[i].Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
	}
	if err := produce(client, records); err != nil {
		t.Fatalf("produce to topic %s: %v", topic, err)
	}
}

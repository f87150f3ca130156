package broker

import (
	"context"
	"errors"
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
	client := b.newProducer(t, topic, options)
	defer client.Close()
	produce(t, client, messages)
}

// ProduceTransaction is Produce in a transaction of Kafka, which ends with kgo.TryCommit or
// kgo.TryAbort.
func (b *Broker) ProduceTransaction(t testing.TB, topic string, end kgo.TransactionEndTry, messages []kafka.Message, options ...kgo.Opt) {
	t.Helper()
	tx := b.Begin(t, topic, options...)
	tx.Produce(t, messages)
	tx.End(t, end)
}

// Transaction is an open transaction of a producer of its own. While it is open, readers of
// committed records get nothing of what follows its first record in a partition.
type Transaction struct{ client *kgo.Client }

// Begin begins a transaction. The broker would abort it by itself only after minutes.
func (b *Broker) Begin(t testing.TB, topic string, options ...kgo.Opt) *Transaction {
	t.Helper()
	const timeout = 10 * time.Minute // Apache Kafka allows 15.
	options = append(options, kgo.TransactionalID(Name(t)), kgo.TransactionTimeout(timeout))
	tx := &Transaction{client: b.newProducer(t, topic, options)}
	t.Cleanup(tx.client.Close)
	if err := tx.client.BeginTransaction(); err != nil {
		t.Fatalf("begin a transaction: %v", err)
	}

	return tx
}

// Produce writes messages in the transaction.
func (tx *Transaction) Produce(t testing.TB, messages []kafka.Message) {
	t.Helper()
	produce(t, tx.client, messages)
}

// End ends the transaction with kgo.TryCommit or kgo.TryAbort.
func (tx *Transaction) End(t testing.TB, end kgo.TransactionEndTry) {
	t.Helper()
	ctx, cancel := requestContext(t)
	defer cancel()
	if err := tx.client.EndTransaction(ctx, end); err != nil {
		t.Fatalf("end a transaction: %v", err)
	}
	tx.client.Close()
}

func (b *Broker) newProducer(t testing.TB, topic string, options []kgo.Opt) *kgo.Client {
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

	return client
}

func produce(t testing.TB, client *kgo.Client, messages []kafka.Message) {
	t.Helper()
	records := make([]*kgo.Record, len(messages))
	for i, m := range messages {
		records[i] = &kgo.Record{Partition: int32(m.Partition), Key: m.Key, Value: m.Value, Timestamp: m.Time} //nolint:gosec // It is a partition.
		for _, h := range m.Headers {
			records[i].Headers = append(records[i].Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), retryTimeout)
	defer cancel()
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		t.Fatalf("produce: %v", err)
	}
}

package cluster

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/produce"

	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/wire"
)

// Produce produces a record, acknowledged by all replicas in sync. It waits for those before it. An error that the broker
// reports is a kafka.Error.
func (c *Client) Produce(ctx context.Context, topic string, partition int, record kafka.Record) error {
	body, err := encodeProduce(topic, partition, record)
	if err != nil {
		return err
	}

	return c.atLeader(ctx, topic, partition, func(address string) error {
		a, err := c.line(c.copying, address, keepCopying).ask(ctx, RequestTimeout, wire.Request{
			Key: protocol.Produce, Oldest: produceVersion, Newest: produceVersion,
			Encode: func(w *wire.Writer, _ int16) { w.Bytes(body...) },
		})
		if err != nil {
			return err
		}

		return decodeProduced(&a.Reader)
	})
}

// produceVersion is what all brokers know from Kafka 1.0 on.
const produceVersion = 7

// encodeProduce makes the body of a request. kafka-go makes the batch.
func encodeProduce(topic string, partition int, record kafka.Record) ([]byte, error) {
	var whole bytes.Buffer
	const timeout = int32(RequestTimeout / time.Millisecond)
	request := &produce.Request{Acks: -1, Timeout: timeout, Topics: []produce.RequestTopic{{
		Topic: topic, Partitions: []produce.RequestPartition{{
			Partition: int32(partition), //nolint:gosec // Kafka's partitions have 32 bits.
			RecordSet: protocol.RecordSet{Attributes: protocol.Attributes(kafka.Gzip), Records: kafka.NewRecordReader(record)},
		}},
	}}}
	request.Prepare(produceVersion)
	if err := protocol.WriteRequest(&whole, produceVersion, 0, "", request); err != nil {
		return nil, fmt.Errorf("encode the record: %w", err)
	}
	const header = 4 + 2 + 2 + 4 + 2 // with an empty client id

	return whole.Bytes()[header:], nil
}

func decodeProduced(r *wire.Reader) error {
	topics := r.Int32()
	r.Text()
	partitions := r.Int32()
	r.Int32() // partition
	code := r.Int16()
	r.Bytes(8 + 8 + 8) // base offset, time, start of the log
	switch {
	case r.Bad || topics != 1 || partitions != 1:
		return fmt.Errorf("%w: of %d topics that were produced to", wire.ErrMalformed, topics)
	case code != 0:
		return kafka.Error(code)
	default:
		return nil
	}
}

package cluster

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/produce"

	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/wire"
)

// Batch is records that a partition gets together or not at all.
type Batch struct {
	Topic     string
	Partition int
	Records   []kafka.Record
	Err       error // set by Produce; a kafka.Error if the broker reports it
}

// Produce produces batches of different partitions, acknowledged by all replicas in sync: one request for each leader. It
// waits for those before it.
func (c *Client) Produce(ctx context.Context, codec kafka.Compression, batches ...*Batch) {
	of := make(map[int32][]*Batch)
	for _, b := range batches {
		var leader int32
		if leader, b.Err = c.Leader(ctx, b.Topic, b.Partition); b.Err == nil {
			of[leader] = append(of[leader], b)
		}
	}
	var all sync.WaitGroup
	for leader, batches := range of {
		all.Go(func() {
			err := c.produceAt(ctx, leader, codec, batches)
			for _, b := range batches {
				if err != nil {
					b.Err = err
				}
				c.Moved(b.Topic, b.Partition, leader, b.Err)
			}
		})
	}
	all.Wait()
}

func (c *Client) produceAt(ctx context.Context, leader int32, codec kafka.Compression, batches []*Batch) error {
	address, err := c.addressOf(leader)
	if err != nil {
		return err
	}
	body, err := encodeProduce(codec, batches)
	if err != nil {
		return err
	}
	a, err := c.line(c.copying, address, keepCopying).ask(ctx, RequestTimeout, wire.Request{
		Key: protocol.Produce, Oldest: produceVersion, Newest: produceVersion,
		Encode: func(w *wire.Writer, _ int16) { w.Bytes(body...) },
	})
	if err != nil {
		return err
	}

	return decodeProduced(&a.Reader, batches)
}

// produceVersion is what all brokers know from Kafka 1.0 on.
const produceVersion = 7

// encodeProduce makes the body of a request. kafka-go makes the batches.
func encodeProduce(codec kafka.Compression, batches []*Batch) ([]byte, error) {
	const timeout = int32(RequestTimeout / time.Millisecond)
	request := &produce.Request{Acks: -1, Timeout: timeout}
	for _, b := range batches {
		request.Topics = append(request.Topics, produce.RequestTopic{Topic: b.Topic, Partitions: []produce.RequestPartition{{
			Partition: int32(b.Partition), //nolint:gosec // Kafka's partitions have 32 bits.
			RecordSet: protocol.RecordSet{Attributes: protocol.Attributes(codec), Records: kafka.NewRecordReader(b.Records...)},
		}}})
	}
	request.Prepare(produceVersion)
	var whole bytes.Buffer
	if err := protocol.WriteRequest(&whole, produceVersion, 0, "", request); err != nil {
		return nil, fmt.Errorf("encode the records: %w", err)
	}
	const header = 4 + 2 + 2 + 4 + 2 // with an empty client id

	return whole.Bytes()[header:], nil
}

// decodeProduced sets the errors of the batches.
func decodeProduced(r *wire.Reader, batches []*Batch) error {
	type place struct {
		topic     string
		partition int
	}
	const leastTopic, leastPartition = 6, 30
	answers := make(map[place]error)
	for range r.Count(leastTopic) {
		topic := r.Text()
		for range r.Count(leastPartition) {
			at := place{topic, int(r.Int32())}
			answers[at] = nil
			if code := r.Int16(); code != 0 {
				answers[at] = kafka.Error(code)
			}
			r.Bytes(8 + 8 + 8) // base offset, time, start of the log
			if r.Bad {
				return fmt.Errorf("%w: the answer to a producer ends too early", wire.ErrMalformed)
			}
		}
	}
	for _, b := range batches {
		var known bool
		if b.Err, known = answers[place{b.Topic, b.Partition}]; !known {
			return fmt.Errorf("%w: the answer to a producer lacks %s/%d", wire.ErrMalformed, b.Topic, b.Partition)
		}
	}

	return nil
}

package kafkaadapter

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/fetch"
)

// maxReasonBytes is how much of an error's text is copied.
const maxReasonBytes = 4 << 10

// copyDeadLetter produces a copy of a failed record to its dead-letter topic, at least once, and reports
// whether it did. It goes on until that succeeds, unless it never will: then the table alone has the
// record.
func (w *worker) copyDeadLetter(revoked context.Context, m Message, reason error) (bool, error) {
	if w.config.DeadLetterSuffix == "" {
		return false, nil
	}
	for failed := 1; ; failed++ {
		err := w.produceCopy(revoked, m, reason)
		if err == nil || revoked.Err() != nil {
			return err == nil, nil //nolint:nilerr // The next owner of the partition takes care of it.
		}
		if err := fatal(err); err != nil {
			return false, w.refuse(m, err)
		}
		if w.neverCopied(revoked, m, err) {
			w.log.ErrorContext(revoked, "kafkaadapter: dead letter not copied, only stored in the table", "offset", m.Offset, "error", err)

			return false, nil
		}
		w.pause(revoked, failed, Event{Kind: EventPaused, Offset: m.Offset, Err: err}, "dead letter not copied, trying again")
	}
}

// neverCopied reports whether no retry can make the copy: the broker refuses it for good, or the
// dead-letter topic has fewer partitions. What the client lacks for the moment in its metadata is
// asked for.
func (w *worker) neverCopied(ctx context.Context, m Message, err error) bool {
	var code kafka.Error
	if errors.As(err, &code) {
		return !code.Temporary() && !code.Timeout()
	}
	if !errors.Is(err, protocol.ErrNoPartition) {
		return false
	}
	cluster, err := fetch.Metadata(ctx, w.generation.transport(), w.generation.consumer.brokers, w.config.ClientID, w.deadLetterTopic())

	return err == nil && len(cluster.Topics) == 1 && cluster.Topics[0].Err == nil && cluster.Topics[0].Partitions <= m.Partition
}

func (w *worker) deadLetterTopic() string { return w.partition.Topic + w.config.DeadLetterSuffix }

func (w *worker) produceCopy(ctx context.Context, m Message, reason error) error {
	topic := w.deadLetterTopic()
	response, err := w.generation.client.Produce(ctx, &kafka.ProduceRequest{
		Topic: topic, Partition: m.Partition, RequiredAcks: kafka.RequireAll, Compression: kafka.Gzip,
		Records: kafka.NewRecordReader(kafka.Record{
			Time: m.Time, Key: nullableBytes(m.Key), Value: nullableBytes(m.Value),
			Headers: slices.Concat(m.Headers, deadLetterHeaders(w.config.Group, m, reason)),
		}),
	})
	if err == nil {
		err = errors.Join(response.Error)
		for _, recordErr := range response.RecordErrors {
			err = errors.Join(err, recordErr)
		}
	}
	if err != nil {
		return fmt.Errorf("produce to %s/%d: %w", topic, m.Partition, err)
	}

	return nil
}

func nullableBytes(b []byte) protocol.Bytes { //nolint:ireturn // kafka-go's interface.
	if b == nil {
		return nil
	}

	return kafka.NewBytes(bytes.Clone(b))
}

// deadLetterHeaders say where the record comes from and why it is dead, in the ways of Spring Kafka
// (org.springframework.kafka.support.KafkaHeaders, numbers as big-endian bytes) and of Kafka
// Connect (DeadLetterQueueReporter, all as text).
func deadLetterHeaders(group string, m Message, reason error) []kafka.Header {
	class, message, timestamp := fmt.Sprintf("%T", root(reason)), reason.Error(), int64(-1)
	if len(message) > maxReasonBytes {
		message = strings.ToValidUTF8(message[:maxReasonBytes], "") + "…"
	}
	if !m.Time.IsZero() {
		timestamp = m.Time.UnixMilli()
	}
	text := func(key, value string) kafka.Header { return kafka.Header{Key: key, Value: []byte(value)} }
	headers := []kafka.Header{
		text("kafka_dlt-original-topic", m.Topic),
		{Key: "kafka_dlt-original-partition", Value: binary.BigEndian.AppendUint32(nil, uint32(m.Partition))}, //nolint:gosec // Kafka's partitions have 32 bits.
		{Key: "kafka_dlt-original-offset", Value: binary.BigEndian.AppendUint64(nil, uint64(m.Offset))},       //nolint:gosec // It is not negative.
		{Key: "kafka_dlt-original-timestamp", Value: binary.BigEndian.AppendUint64(nil, uint64(timestamp))},
		text("kafka_dlt-original-consumer-group", group),
		text("kafka_dlt-exception-fqcn", class),
		text("kafka_dlt-exception-message", message),
		text("__connect.errors.topic", m.Topic),
		text("__connect.errors.partition", strconv.Itoa(m.Partition)),
		text("__connect.errors.offset", strconv.FormatInt(m.Offset, 10)),
		text("__connect.errors.exception.class.name", class),
		text("__connect.errors.exception.message", message),
	}
	if stack := stackOf(reason); stack != "" {
		stack = stack[:min(len(stack), maxReasonBytes)]
		headers = append(headers, text("kafka_dlt-exception-stacktrace", stack), text("__connect.errors.exception.stacktrace", stack))
	}

	return headers
}

// root returns the innermost error of a chain.
func root(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/nova-events/idempotent-consumer/consume"
)

// maxReasonBytes is how much of an error's text is copied.
const maxReasonBytes = 4 << 10

// copyDeadLetter produces a copy of a failed record to its dead-letter topic, at least once, and reports
// whether it did. It repeats that until it succeeds, or can never succeed: then only the table has the
// record.
func (w *worker) copyDeadLetter(revoked context.Context, m consume.Message, reason error) (bool, error) {
	if w.config.Failure.DeadLetterSuffix == "" {
		return false, nil
	}
	copied := m.Record
	copied.Headers = slices.Concat(m.Headers, deadLetterHeaders(w.engine.group, m, reason))
	final := func(err error) bool { return fatal(err) || errors.Is(err, ErrNeverCopied) }
	err := w.repeat(revoked, consume.PauseKafka, m.Offset, "dead letter not copied, trying again", final, func() error {
		return w.source.Copy(revoked, w.partition.Topic+w.config.Failure.DeadLetterSuffix, copied)
	})
	switch {
	case err == nil, revoked.Err() != nil:
		return err == nil, nil //nolint:nilerr // The next owner of the partition takes care of it.
	case fatal(err):
		return false, w.refuse(m, err)
	default:
		w.log.ErrorContext(revoked, "consume: dead letter not copied, only stored in the table", "offset", m.Offset, "error", err)

		return false, nil
	}
}

// deadLetterHeaders say where the record comes from and why it failed, in the formats of Spring
// Kafka (org.springframework.kafka.support.KafkaHeaders, numbers as big-endian bytes) and of Kafka
// Connect (DeadLetterQueueReporter, all as text).
func deadLetterHeaders(group string, m consume.Message, reason error) []consume.RecordHeader {
	class, message, timestamp := fmt.Sprintf("%T", root(reason)), reason.Error(), int64(-1)
	if len(message) > maxReasonBytes {
		message = strings.ToValidUTF8(message[:maxReasonBytes], "") + "…"
	}
	if !m.Time.IsZero() {
		timestamp = m.Time.UnixMilli()
	}
	text := func(key, value string) consume.RecordHeader {
		return consume.RecordHeader{Key: key, Value: []byte(value)}
	}
	headers := []consume.RecordHeader{
		text("kafka_dlt-original-topic", m.Topic),
		{Key: "kafka_dlt-original-partition", Value: binary.BigEndian.AppendUint32(nil, uint32(m.Partition))}, //nolint:gosec // Kafka's partitions have 32 bits.
		{Key: "kafka_dlt-original-offset", Value: binary.BigEndian.AppendUint64(nil, uint64(m.Offset))},       //nolint:gosec // It is not negative.
		{Key: "kafka_dlt-original-timestamp", Value: binary.BigEndian.AppendUint64(nil, uint64(timestamp))},
		text("kafka_dlt-original-consumer-group", group),
		text("kafka_dlt-exception-fqcn", class),
		text("kafka_dlt-exception-message", message),
		text("__connect.errors.topic", m.Topic),
		text("__connect.errors.partition", strconv.Itoa(int(m.Partition))),
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

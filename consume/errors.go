package consume

import (
	"context"
	"errors"
	"fmt"
)

var (
	// ErrInvalidConfig is returned by New, with the reason, when a configuration is not valid.
	ErrInvalidConfig = errors.New("consume: invalid configuration")

	// ErrRunning is returned by Run when the Consumer is already running.
	ErrRunning = errors.New("consume: the consumer is running already")

	// ErrHandlerTimeout is wrapped by the error of an attempt that Config.HandlerTimeout has ended.
	ErrHandlerTimeout = fmt.Errorf("consume: the handler took longer than Config.HandlerTimeout: %w", context.DeadlineExceeded)

	// ErrOpenTransaction is PauseBegin.Err of a PauseProducer: a producer has not ended a transaction,
	// and the records after the transaction's first one are delivered only when it has. If the producer
	// died, the broker aborts the transaction after its transaction.timeout.ms; "kafka-transactions.sh
	// find-hanging" finds transactions that the broker does not know of.
	ErrOpenTransaction = errors.New("consume: a producer's open transaction holds back the records behind it")

	// ErrUnknownTopic is returned by Run when a topic did not exist for a while (kafkaadapter.Config.TopicGrace).
	ErrUnknownTopic = errors.New("consume: unknown topic")

	// ErrOffsetOutOfRange is returned by Run when the log of a partition does not contain the next
	// offset of the group: records have expired unread, or the topic was deleted and created again.
	// Decide where to go on: set Config.OnOutOfRange, or reset the group's offset
	// ("kafka-consumer-groups.sh --reset-offsets") and the checkpoint ("idemctl checkpoint reset").
	ErrOffsetOutOfRange = errors.New("consume: offset out of range")

	// ErrUnreadable is returned by Run when a broker's answers could not be decoded, several times
	// in a row: a batch is damaged, too large, or in a format older than Kafka 0.11. If it is known
	// where the batch ends, the error names its offsets, and Config.OnUnreadable can go on after
	// it.
	ErrUnreadable = errors.New("consume: records cannot be read")
)

// RecordError is returned by Run when a record could not be processed and FailureConfig.Policy is
// StopOnFailure: it has no valid event id, or its handler has used up its attempts. It is also
// returned when the guard cannot work, because tables or rights are missing for instance. The
// record and those after it in its partition are not committed; they come again when the consumer
// runs again.
type RecordError struct {
	Topic     string
	Partition int32
	Offset    int64
	Attempts  int // how often the handler ran
	Err       error
}

func (e *RecordError) Error() string {
	return fmt.Sprintf("consume: record at offset %d of %s/%d, after %d attempts: %v", e.Offset, e.Topic, e.Partition, e.Attempts, e.Err)
}

// Unwrap returns the reason.
func (e *RecordError) Unwrap() error { return e.Err }

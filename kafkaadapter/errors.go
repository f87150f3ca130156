package kafkaadapter

import (
	"errors"
	"fmt"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/fetch"
)

var (
	// ErrInvalidConfig is returned by New, with the reason, when a configuration makes no
	// sense.
	ErrInvalidConfig = errors.New("kafkaadapter: invalid configuration")

	// ErrRunning is returned by Run when the Consumer runs already.
	ErrRunning = errors.New("kafkaadapter: the consumer is running already")

	// ErrUnknownTopic is returned by Run when a topic did not exist for Config.TopicGrace.
	ErrUnknownTopic = errors.New("kafkaadapter: unknown topic")

	// ErrOffsetOutOfRange is returned by Run when the log of a partition does not reach to
	// where the group has come: records have expired unread, or the topic was deleted and
	// created again. Decide where to go on: set Config.OnOutOfRange, or reset the group's
	// offset ("kafka-consumer-groups.sh --reset-offsets") and the checkpoint ("idemctl
	// checkpoint reset").
	ErrOffsetOutOfRange = errors.New("kafkaadapter: offset out of range")

	// ErrUnreadable is returned by Run when a broker's answers could not be decoded, several
	// times over: a batch is damaged, too large or of a format before Kafka 0.11. If it is known
	// where the batch ends, the error names its offsets, and Config.OnUnreadable can go on
	// behind it.
	ErrUnreadable = errors.New("kafkaadapter: records cannot be read")
)

// RecordError is returned by Run when a record could not be processed and Config.OnFailure is
// StopOnFailure: it has no valid event id, or its handler failed for good. It is also returned
// when the guard cannot work: tables or rights are missing, for instance. The record and those
// after it in its partition are not committed; they come again when the consumer runs again.
type RecordError struct {
	Topic     string
	Partition int
	Offset    int64
	Attempts  int // how often the handler ran
	Err       error
}

func (e *RecordError) Error() string {
	return fmt.Sprintf("kafkaadapter: record at offset %d of %s/%d, after %d attempts: %v", e.Offset, e.Topic, e.Partition, e.Attempts, e.Err)
}

// Unwrap returns the reason.
func (e *RecordError) Unwrap() error { return e.Err }

// advice says what to do about the answers of a broker that no retry can change.
var advice = map[kafka.Error]string{
	kafka.InvalidTopic:                "correct Config.Topics",
	kafka.InconsistentGroupProtocol:   "another client with other partition assignors is in the group: stop it or use another Config.Group",
	kafka.InvalidGroupId:              "correct Config.Group",
	kafka.InvalidSessionTimeout:       "set Config.SessionTimeout to a value between the broker's group.min.session.timeout.ms and group.max.session.timeout.ms",
	kafka.TopicAuthorizationFailed:    "give the user the rights Read and Describe on the topics",
	kafka.GroupAuthorizationFailed:    "give the user the right Read on the group",
	kafka.ClusterAuthorizationFailed:  "give the user the rights that it lacks",
	kafka.UnsupportedSASLMechanism:    "set Config.SASL to a mechanism that the broker has enabled",
	kafka.UnsupportedVersion:          "the broker is too old",
	kafka.UnsupportedForMessageFormat: "the broker is too old",
	kafka.SASLAuthenticationFailed:    "check the user and the password in Config.SASL",
	kafka.GroupMaxSizeReached:         "the group has as many members as the broker's group.max.size allows",
}

// fatal returns err with advice if no retry can heal it, else nil.
func fatal(err error) error {
	var code kafka.Error
	if errors.As(err, &code) {
		if what, ok := advice[code]; ok {
			return fmt.Errorf("kafkaadapter: the broker refuses: %w: %s", err, what)
		}
	}

	return nil
}

// unknownTopic reports whether err says that a topic or a partition does not exist.
func unknownTopic(err error) bool {
	return errors.Is(err, kafka.UnknownTopicOrPartition) || errors.Is(err, kafka.UnknownTopicID) ||
		errors.Is(err, protocol.ErrNoTopic) || errors.Is(err, protocol.ErrNoPartition)
}

// unreadable reports whether err says that a broker's answer could not be decoded.
func unreadable(err error) bool {
	return errors.Is(err, fetch.ErrMalformed) || errors.Is(err, fetch.ErrTooLarge) || errors.Is(err, fetch.ErrUnsupported) ||
		errors.Is(err, fetch.ErrDeadly)
}

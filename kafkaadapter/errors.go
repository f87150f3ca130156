package kafkaadapter

import (
	"errors"
	"fmt"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/nova-events/idempotent-consumer/internal/dial"
	"github.com/nova-events/idempotent-consumer/internal/engine"
	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/fetch"
	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/group"
)

// advice says what to do about the answers of a broker that no retry can change.
var advice = map[kafka.Error]string{
	kafka.InvalidTopic:                "correct Config.Topics",
	kafka.TopicAuthorizationFailed:    "give the user the rights Read and Describe on the topics",
	kafka.GroupAuthorizationFailed:    "give the user the right Read on the group",
	kafka.ClusterAuthorizationFailed:  "give the user the rights that it lacks",
	kafka.UnsupportedSASLMechanism:    "set Config.SASL to a mechanism that the broker has enabled",
	kafka.UnsupportedVersion:          "the broker is too old",
	kafka.UnsupportedForMessageFormat: "the broker is too old",
	kafka.SASLAuthenticationFailed:    "check the user and the password in Config.SASL",
}

// fatal returns err with advice, as an *engine.FatalError, if no retry can heal it, else nil.
func fatal(err error) error {
	if refused := new(group.RefusedError); errors.As(err, &refused) {
		return &engine.FatalError{Err: fmt.Errorf("kafkaadapter: %w", err)}
	}
	var code kafka.Error
	if errors.As(err, &code) {
		if what, ok := advice[code]; ok {
			return &engine.FatalError{Err: fmt.Errorf("kafkaadapter: the broker refuses: %w: %s", err, what)}
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
	return errors.Is(err, fetch.ErrMalformed) || errors.Is(err, fetch.ErrTooLarge) || errors.Is(err, fetch.ErrUnsupported) || errors.Is(err, engine.ErrDeadly)
}

// explained adds to a connection's error what it may mean.
func (c Config) explained(err error) error { return dial.Explain(err, c.TLS != nil, c.SASL != nil) }

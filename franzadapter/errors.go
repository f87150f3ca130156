package franzadapter

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"

	"github.com/nova-events/idempotent-consumer/internal/dial"
	"github.com/nova-events/idempotent-consumer/internal/engine"
)

// advice says what to do about the answers of a broker that no retry can change.
var advice = map[*kerr.Error]string{
	kerr.InvalidTopicException:              "correct Config.Topics",
	kerr.InconsistentGroupProtocol:          "another client with other partition assignors is in the group: stop it, give this one the same Config.Balancers or use another Config.Group",
	kerr.InvalidGroupID:                     "correct Config.Group",
	kerr.InvalidSessionTimeout:              "set Config.SessionTimeout to a value between the broker's group.min.session.timeout.ms and group.max.session.timeout.ms",
	kerr.TopicAuthorizationFailed:           "give the user the rights Read and Describe on the topics",
	kerr.GroupAuthorizationFailed:           "give the user the right Read on the group",
	kerr.ClusterAuthorizationFailed:         "give the user the rights that it lacks",
	kerr.UnsupportedSaslMechanism:           "set Config.SASL to a mechanism that the broker has enabled",
	kerr.UnsupportedVersion:                 "the broker is too old",
	kerr.UnsupportedForMessageFormat:        "the broker is too old",
	kerr.SaslAuthenticationFailed:           "check the user and the password in Config.SASL",
	kerr.GroupMaxSizeReached:                "the group has as many members as the broker's group.max.size allows",
	kerr.FencedInstanceID:                   "another member has the same Config.InstanceID: give each its own",
	kerr.UnsupportedAssignor:                "the broker has no such assignor: leave Config.Balancers empty with ServerSideBalancer",
	kerr.InvalidRegularExpression:           "correct Config.TopicPattern",
	kerr.TransactionalIDAuthorizationFailed: "give the user the rights that it lacks",
}

// fatal returns err with advice, as an *engine.FatalError, if no retry can heal it, else nil.
func fatal(err error) error {
	if code, ok := errors.AsType[*kerr.Error](err); ok {
		if what, ok := advice[code]; ok {
			return &engine.FatalError{Err: fmt.Errorf("franzadapter: the broker refuses: %w: %s", err, what)}
		}
	}

	return nil
}

// classified is err, as an *engine.FatalError if no retry can heal it.
func classified(err error) error {
	if fatal := fatal(err); fatal != nil {
		return fatal
	}

	return err
}

// unknownTopic reports whether err says that a topic or a partition does not exist.
func unknownTopic(err error) bool {
	return errors.Is(err, kerr.UnknownTopicOrPartition) || errors.Is(err, kerr.UnknownTopicID)
}

// explained adds to a connection's error what it may mean. TLS and SASL may be among Config.Options.
func (m *member) explained(err error) error {
	config, _ := m.client.OptValue(kgo.DialTLSConfig).(*tls.Config)
	mechanisms, _ := m.client.OptValue(kgo.SASL).([]sasl.Mechanism)
	if err != nil && config != nil && m.unshaken.Load() {
		err = fmt.Errorf("%w: %w", dial.ErrHandshake, err)
	}

	return dial.Explain(err, config != nil, len(mechanisms) > 0)
}

// OnBrokerConnect implements kgo.HookBrokerConnect. Without the handshake of TLS there is no connection.
func (m *member) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, conn net.Conn, err error) {
	failed, ok := errors.AsType[*net.OpError](err)
	m.unshaken.Store(conn == nil && (!ok || failed.Op != "dial"))
}

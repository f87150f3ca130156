package kafkaadapter

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/fetch"
)

const (
	dialTimeout = 5 * time.Second

	// metadataTTL is how old the knowledge of which broker leads a partition can be.
	metadataTTL = 2 * time.Second

	// requestTimeout bounds requests that a broker answers at once.
	requestTimeout = 10 * time.Second
)

// connections are the TCP connections of a consumer. kafka-go waits for the answers of some
// requests without regard to contexts, up to the rebalance timeout; cutting the connection is
// the only way to end such a wait.
type connections struct {
	dialer net.Dialer

	quota     fetch.Quota // what brokers say of the client's quotas
	throttled oncePer     // when that was logged

	mu   sync.Mutex
	open map[*connection]struct{}
}

type connection struct {
	net.Conn

	owner *connections
	since time.Time
}

func newConnections() *connections {
	return &connections{dialer: net.Dialer{Timeout: dialTimeout}, open: make(map[*connection]struct{})}
}

// dial has the form that kafka.Dialer and kafka.Transport want.
func (c *connections) dial(ctx context.Context, network, address string) (net.Conn, error) {
	plain, err := c.dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err //nolint:wrapcheck // It names the address.
	}
	conn := &connection{Conn: plain, owner: c, since: time.Now()}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open[conn] = struct{}{}

	return conn, nil
}

// cut closes the connections that were opened before the given time.
func (c *connections) cut(before time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.open {
		if conn.since.Before(before) {
			_ = conn.Conn.Close() // Its user sees the end, and closes it once more.
		}
	}
}

func (c *connection) Close() error {
	c.owner.mu.Lock()
	delete(c.owner.open, c)
	c.owner.mu.Unlock()

	return c.Conn.Close() //nolint:wrapcheck // It stands for the connection.
}

// dialer is for the group.
func (c *connections) forGroup(config Config) *kafka.Dialer {
	return &kafka.Dialer{
		ClientID: config.ClientID, Timeout: dialTimeout, DialFunc: c.dial, TLS: config.TLS, SASLMechanism: config.SASL,
	}
}

// transport is for all else. Requests find the leaders of the topics' partitions.
func (c *connections) transport(config Config, topics []string) *kafka.Transport {
	return &kafka.Transport{
		ClientID: config.ClientID, DialTimeout: dialTimeout, Dial: c.dial, TLS: config.TLS, SASL: config.SASL,
		MetadataTTL: metadataTTL, MetadataTopics: topics,
	}
}

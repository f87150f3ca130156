package kafkaadapter

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/internal/onceper"
	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/fetch"
	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/wire"
)

const (
	dialTimeout = 5 * time.Second

	// metadataTTL is how old the knowledge of which broker leads a partition can be.
	metadataTTL = 2 * time.Second

	// requestTimeout bounds requests that a broker answers at once.
	requestTimeout = 10 * time.Second
)

// errHandshake is that of a connection which does not become one of TLS.
var errHandshake = errors.New("TLS handshake")

// connections are those of a consumer. kafka-go waits for the answer to a fetch without regard to
// contexts; cutting the connection is the only way to end such a wait. It also believes whatever an answer claims to hold, so answers are checked
// here, behind the encryption.
type connections struct {
	dialer net.Dialer
	tls    *tls.Config
	log    *slog.Logger

	fetcher   *fetch.Fetcher // set by Consumer.consume
	quota     fetch.Quota    // what brokers say of the client's quotas
	asking    turns          // of partitions that ask for something when they start
	copying   turns          // of those that produce copies of dead letters
	malformed onceper.Limit  // when the latest malformed answer was

	mu   sync.Mutex
	open map[*connection]struct{}
}

type connection struct {
	net.Conn

	owner *connections
	since time.Time
}

func newConnections(config Config, log *slog.Logger) *connections {
	return &connections{
		dialer: net.Dialer{Timeout: dialTimeout}, tls: config.TLS, log: log, asking: newTurns(), copying: newTurns(), open: make(map[*connection]struct{}),
	}
}

// dial has the form that kafka.Dialer and kafka.Transport want.
func (c *connections) dial(ctx context.Context, network, address string) (net.Conn, error) {
	plain, err := c.dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	conn := &connection{Conn: plain, owner: c, since: time.Now()}
	c.mu.Lock()
	c.open[conn] = struct{}{}
	c.mu.Unlock()
	encrypted, err := c.encrypt(ctx, conn, address)
	if err != nil {
		_ = conn.Close() // What has failed says more.

		return nil, err
	}

	return wire.Check(encrypted, func(err error) {
		if c.malformed.Due(time.Minute) {
			c.log.Warn("kafkaadapter: answer of a broker refused, closing the connection", "broker", address, "error", err)
		}
	}), nil
}

// encrypt makes a connection one of TLS, if that is wanted.
func (c *connections) encrypt(ctx context.Context, conn net.Conn, address string) (net.Conn, error) {
	if c.tls == nil {
		return conn, nil
	}
	config := c.tls
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		config = config.Clone()
		config.ServerName = host
	}
	encrypted := tls.Client(conn, config)
	if err := encrypted.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("%w with %s: %w", errHandshake, address, err)
	}

	return encrypted, nil
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

	return c.Conn.Close()
}

// transport is for all but the group. Requests find the leaders of the topics' partitions.
func (c *connections) transport(config Config, topics []string) *kafka.Transport {
	return &kafka.Transport{
		ClientID: config.ClientID, DialTimeout: dialTimeout, Dial: c.dial, SASL: config.SASL,
		MetadataTTL: metadataTTL, MetadataTopics: topics,
	}
}

// turns has requests wait for each other: kafka-go opens a connection for each that is under way, and a
// member may have a thousand partitions that begin at the same time.
type turns chan struct{}

func newTurns() turns { return make(turns, 1) }

// take waits for its turn, until ctx ends.
func (t turns) take(ctx context.Context) (pass func(), err error) {
	select {
	case t <- struct{}{}:
		return func() { <-t }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

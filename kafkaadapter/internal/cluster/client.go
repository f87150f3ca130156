// Package cluster talks to the brokers of a Kafka cluster, with few connections.
//
// All that a broker answers at once shares one connection to it: metadata, offsets, and what a member
// of a group has to say. A member that joins has nothing else to say until it is answered, so joins share it, too, as
// in Kafka's own client. What a broker may hold back while others go on has a connection of its own: fetches, whose callers
// open theirs (Open), and copies of records, which wait for the replicas.
package cluster

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go/sasl"

	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/wire"
)

const (
	// RequestTimeout bounds requests that are answered at once.
	RequestTimeout = 10 * time.Second

	// dialTimeout bounds the opening of a connection, with all that belongs to it.
	dialTimeout = 5 * time.Second

	// keepTime is how long a connection stays open that nobody uses; keepCopying that of copies, which are rare.
	keepTime    = 30 * time.Second
	keepCopying = time.Second
)

// errClosed is returned by a Client that is closed.
var errClosed = errors.New("the client is closed")

// Config says where a cluster is, and how to connect to it.
type Config struct {
	Brokers  []string // host:port of some of the cluster
	ClientID string
	Dial     func(ctx context.Context, network, address string) (net.Conn, error)
	SASL     sasl.Mechanism // nil: the user is not authenticated
}

// Client is one of a cluster. It is safe for concurrent use.
type Client struct {
	config Config

	finding  turn // of who asks for the leaders
	starting turn // of partitions that start: a heartbeat must not wait for a thousand of them

	mu      sync.Mutex
	closed  bool
	topics  []string         // whose leaders are known
	asked   time.Time        // when the leaders were asked for last
	failed  error            // that failed then
	brokers map[int32]string // addresses by id
	leaders map[string][]int32
	latest  string           // the address that has answered last a request for any broker
	shared  map[string]*line // by address
	copying map[string]*line
	open    map[*conn]struct{}
}

// New returns a client, which has no connections yet.
func New(config Config) *Client {
	return &Client{
		config: config, finding: newTurn(), starting: newTurn(), leaders: make(map[string][]int32),
		shared: make(map[string]*line), copying: make(map[string]*line), open: make(map[*conn]struct{}),
	}
}

// Close closes all connections, even those in use, and prevents new ones.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for conn := range c.open {
		_ = conn.Conn.Close() // Its user sees the end, and closes it once more.
	}
	for _, l := range c.shared {
		l.idle.Stop()
	}
	for _, l := range c.copying {
		l.idle.Stop()
	}
}

// conn is a connection that the client knows of.
type conn struct {
	net.Conn

	client *Client
}

func (c *conn) Close() error {
	c.client.mu.Lock()
	delete(c.client.open, c)
	c.client.mu.Unlock()

	return c.Conn.Close()
}

// Open returns a connection to a broker for the caller alone, who must close it.
func (c *Client) Open(ctx context.Context, broker int32) (*wire.Conn, error) {
	address, err := c.addressOf(broker)
	if err != nil {
		return nil, err
	}

	return c.connect(ctx, address)
}

func (c *Client) connect(ctx context.Context, address string) (*wire.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	dialed, err := c.config.Dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	known := &conn{dialed, c}
	c.mu.Lock()
	closed := c.closed
	if !closed {
		c.open[known] = struct{}{}
	}
	c.mu.Unlock()
	if closed {
		_ = dialed.Close()

		return nil, errClosed
	}

	return wire.Connect(ctx, known, address, c.config.ClientID, c.config.SASL)
}

// line returns the line to an address.
func (c *Client) line(lines map[string]*line, address string, keep time.Duration) *line {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := lines[address]
	if l == nil {
		l = newLine(c, address, keep)
		lines[address] = l
	}

	return l
}

// Ask asks the broker at an address. The timeout begins when all who came before are answered; ctx bounds all.
func (c *Client) Ask(ctx context.Context, address string, timeout time.Duration, r wire.Request) (*wire.Answer, error) {
	return c.line(c.shared, address, keepTime).ask(ctx, timeout, r)
}

// Cut closes the shared connection to the broker at an address. Call it after waiting too long for an answer.
// The requests under way fail, and the next request opens another connection.
func (c *Client) Cut(address string) { c.line(c.shared, address, keepTime).cut() }

// AskAny asks any broker, one after the other until one answers.
func (c *Client) AskAny(ctx context.Context, r wire.Request) (a *wire.Answer, err error) {
	for _, address := range c.addresses() {
		a, err = c.Ask(ctx, address, RequestTimeout, r)
		if err == nil {
			c.mu.Lock()
			c.latest = address
			c.mu.Unlock()

			return a, nil
		}
		if ctx.Err() != nil {
			return nil, err
		}
	}
	c.mu.Lock()
	c.latest = ""
	c.mu.Unlock()

	return nil, err
}

// addresses are all brokers that are known, the best to ask first.
func (c *Client) addresses() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := slices.Collect(maps.Values(c.brokers))
	given := slices.Clone(c.config.Brokers)
	shuffle(known)
	shuffle(given)
	all := slices.Concat(known, given)
	if c.latest != "" {
		all = slices.Insert(all, 0, c.latest)
	}

	return unique(all)
}

func shuffle(all []string) {
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] }) //nolint:gosec // It is no secret.
}

// unique leaves out what was there before.
func unique(all []string) []string {
	seen := make(map[string]bool, len(all))

	return slices.DeleteFunc(all, func(one string) bool {
		before := seen[one]
		seen[one] = true

		return before
	})
}

// letGo closes the connections to brokers that have left the cluster, or have another address now.
func (c *Client) letGo() {
	current := slices.Collect(maps.Values(c.brokers))
	for address, l := range c.shared {
		if !slices.Contains(current, address) {
			l.idle.Reset(0)
		}
	}
}

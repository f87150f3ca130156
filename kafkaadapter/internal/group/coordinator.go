package group

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/cluster"
	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/wire"
)

// requestTimeout bounds requests that are answered at once.
const requestTimeout = cluster.RequestTimeout

// coordinator is the broker that coordinates the group. All requests share the connection to it that the client
// has for them.
type coordinator struct {
	config  *Config
	brokers brokers
	finding chan struct{} // holds an element while somebody looks for it

	mu      sync.Mutex
	address string // empty: not known
}

// brokers is a *cluster.Client.
type brokers interface {
	Ask(ctx context.Context, address string, timeout time.Duration, r wire.Request) (*wire.Answer, error)
	AskAny(ctx context.Context, r wire.Request) (*wire.Answer, error)
	Cut(address string)
}

func newCoordinator(config *Config) *coordinator {
	return &coordinator{config: config, brokers: config.Brokers, finding: make(chan struct{}, 1)}
}

// request is one to the coordinator, of the form of KIP-482.
type request struct {
	key            protocol.ApiKey
	oldest, newest int16
	timeout        time.Duration
	encode         func(w *wire.Writer, version int16)
	decode         func(a *wire.Answer) kafka.Error // returns the error that the answer reports
}

func (r request) onWire() wire.Request {
	return wire.Request{Key: r.key, Oldest: r.oldest, Newest: r.newest, Flexible: true, Encode: r.encode}
}

// judge returns what has become of the request.
func (r request) judge(a *wire.Answer, err error) error {
	if err == nil {
		err = a.Err(r.key, r.decode(a))
	}

	return err
}

// do sends a request once. Errors are of the network, or a kafka.Error of the coordinator. If it
// follows from one that the coordinator is another broker, the next request looks for it.
func (c *coordinator) do(ctx context.Context, r request) error {
	address, err := c.find(ctx)
	if err != nil {
		return err
	}
	a, err := c.brokers.Ask(ctx, address, r.timeout, r.onWire())
	if err = r.judge(a, err); err == nil {
		return nil
	}
	if ctx.Err() == nil && judge(err).next == find {
		c.forget(address)
	}

	return fmt.Errorf("%v with %v: %w", r.key, address, err)
}

// find returns the address of the coordinator.
func (c *coordinator) find(ctx context.Context) (string, error) {
	select {
	case c.finding <- struct{}{}:
		defer func() { <-c.finding }()
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	c.mu.Lock()
	address := c.address
	c.mu.Unlock()
	if address != "" {
		return address, nil
	}
	var host string
	var port int32
	r := request{
		key: protocol.FindCoordinator, oldest: 3, newest: 3,
		encode: func(w *wire.Writer, _ int16) {
			w.CompactString(c.config.Group)
			w.Bytes(0) // of a group
			w.NoTags()
		},
		decode: func(a *wire.Answer) kafka.Error {
			a.Int32() // throttle time
			code := a.Int16()
			a.CompactBytes() // the error in words
			a.Int32()        // node
			host, port = a.CompactString(), a.Int32()

			return kafka.Error(code)
		},
	}
	a, err := c.brokers.AskAny(ctx, r.onWire())
	if err := r.judge(a, err); err != nil {
		return "", fmt.Errorf("find the coordinator: %w", err)
	}
	if host == "" || port <= 0 || port >= 1<<16 {
		return "", fmt.Errorf("find the coordinator: %w: it is at %q, port %d", wire.ErrMalformed, host, port)
	}
	address = net.JoinHostPort(host, strconv.Itoa(int(port)))
	c.mu.Lock()
	c.address = address
	c.mu.Unlock()

	return address, nil
}

// forget makes the next request look for the coordinator, unless that was done meanwhile.
func (c *coordinator) forget(address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.address == address {
		c.address = ""
	}
}

// abandon closes the connection to the coordinator, and makes the next request look for it.
func (c *coordinator) abandon() {
	c.mu.Lock()
	address := c.address
	c.address = ""
	c.mu.Unlock()
	if address != "" {
		c.brokers.Cut(address)
	}
}

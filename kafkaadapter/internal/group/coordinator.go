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
)

const (
	// requestTimeout bounds requests that are answered at once.
	requestTimeout = 10 * time.Second

	// dialTimeout bounds the opening of a connection, with all that belongs to it.
	dialTimeout = 5 * time.Second

	// layoutTTL is how often kafka-go asks each broker that it knows for the cluster, on a connection
	// of its own. Nothing here needs the answer.
	layoutTTL = 10 * time.Second
)

// coordinator is the broker that coordinates the group. Each request has a connection to it for
// itself, so that none waits for another: heartbeats do not wait for a join that takes a minute.
type coordinator struct {
	config    *Config
	transport transport
	finding   chan struct{} // holds an element while somebody looks for it

	mu      sync.Mutex
	address net.Addr // nil: not known
}

// transport is a *kafka.Transport.
type transport interface {
	kafka.RoundTripper
	CloseIdleConnections()
}

func newCoordinator(config *Config) *coordinator {
	return &coordinator{config: config, finding: make(chan struct{}, 1), transport: &kafka.Transport{
		ClientID: config.ClientID, Dial: config.Dial, DialTimeout: dialTimeout, SASL: config.SASL,
		MetadataTTL: layoutTTL, MetadataTopics: []string{},
	}}
}

// request is one to the coordinator.
type request struct {
	key            protocol.ApiKey
	oldest, newest int16
	timeout        time.Duration
	encode         func(w *writer, version int16)
	decode         func(a *answer) kafka.Error // returns the error that the answer reports
}

// do sends a request once. Errors are of the network, or a kafka.Error of the coordinator. If it
// follows from one that the coordinator is another broker, the next request looks for it.
func (c *coordinator) do(ctx context.Context, r request) error {
	address, err := c.find(ctx)
	if err != nil {
		return err
	}
	err = c.send(ctx, address, r)
	if err != nil && ctx.Err() == nil && judge(err).next == find {
		c.forget(address)
	}

	return err
}

func (c *coordinator) send(ctx context.Context, to net.Addr, r request) error {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	message, err := c.transport.RoundTrip(ctx, to, &exchange{ctx, c.config.ClientID, r.key, r.oldest, r.newest, r.encode})
	if err != nil {
		return fmt.Errorf("%v with %v: %w", r.key, to, err)
	}
	a, ok := message.(*answer)
	if !ok {
		return fmt.Errorf("%v with %v: %w", r.key, to, errMalformed)
	}
	code := r.decode(a)
	switch {
	case a.bad:
		return fmt.Errorf("%v with %v: %w: it ends too early", r.key, to, errMalformed)
	case code != 0:
		return fmt.Errorf("%v with %v: %w", r.key, to, code)
	default:
		return nil
	}
}

// find returns where the coordinator is.
func (c *coordinator) find(ctx context.Context) (net.Addr, error) {
	select {
	case c.finding <- struct{}{}:
		defer func() { <-c.finding }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	c.mu.Lock()
	address := c.address
	c.mu.Unlock()
	if address != nil {
		return address, nil
	}
	var host string
	var port int32
	err := c.send(ctx, c.config.Brokers, request{
		key: protocol.FindCoordinator, oldest: 3, newest: 3, timeout: requestTimeout,
		encode: func(w *writer, _ int16) {
			w.compactString(c.config.Group)
			w.bytes(0) // of a group
			w.noTags()
		},
		decode: func(a *answer) kafka.Error {
			a.int32() // throttle time
			code := a.int16()
			a.compactBytes() // the error in words
			a.int32()        // node
			host, port = a.compactString(), a.int32()

			return kafka.Error(code)
		},
	})
	// kafka-go has a pool for each address that it was asked to talk to: those of the broker that was
	// asked, and of a former coordinator, are not needed any more.
	c.transport.CloseIdleConnections()
	if err != nil {
		return nil, err
	}
	if host == "" || port <= 0 || port >= 1<<16 {
		return nil, fmt.Errorf("find the coordinator: %w: it is at %q, port %d", errMalformed, host, port)
	}
	address = kafka.TCP(net.JoinHostPort(host, strconv.Itoa(int(port))))
	c.mu.Lock()
	c.address = address
	c.mu.Unlock()

	return address, nil
}

// forget makes the next request look for the coordinator, unless that was done meanwhile.
func (c *coordinator) forget(address net.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.address == address {
		c.address = nil
	}
}

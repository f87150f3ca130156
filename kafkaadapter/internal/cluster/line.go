package cluster

import (
	"context"
	"sync"
	"time"

	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/wire"
)

// line is a connection to a broker that many share: each request has it for itself until it is answered,
// because brokers answer the requests of a connection one after the other.
type line struct {
	client  *Client
	address string
	keep    time.Duration // how long a connection stays open that nobody uses
	turn    turn          // of who uses the line
	idle    *time.Timer

	mu   sync.Mutex
	conn *wire.Conn // nil: none is open
}

func newLine(c *Client, address string, keep time.Duration) *line {
	l := &line{client: c, address: address, keep: keep, turn: newTurn()}
	l.idle = time.AfterFunc(keep, l.closeIdle)

	return l
}

// ask waits for its turn and then asks. The timeout begins with the turn; ctx bounds all.
func (l *line) ask(ctx context.Context, timeout time.Duration, r wire.Request) (*wire.Answer, error) {
	if err := l.turn.take(ctx); err != nil {
		return nil, err
	}
	defer l.turn.pass()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := l.connected(ctx)
	if err != nil {
		return nil, err
	}
	defer l.idle.Reset(l.keep)
	a, err := conn.Ask(ctx, r)
	if err != nil {
		l.cut()
	}

	return a, err
}

// connected returns the connection. The caller has its turn.
func (l *line) connected(ctx context.Context) (*wire.Conn, error) {
	l.mu.Lock()
	conn := l.conn
	l.mu.Unlock()
	if conn != nil {
		return conn, nil
	}
	conn, err := l.client.connect(ctx, l.address)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.conn = conn
	l.mu.Unlock()

	return conn, nil
}

// cut closes the connection, even if it is in use. The next request opens another.
func (l *line) cut() {
	l.mu.Lock()
	conn := l.conn
	l.conn = nil
	l.mu.Unlock()
	if conn != nil {
		_ = conn.Close() // Who uses it sees the end.
	}
}

// closeIdle closes the connection unless somebody uses it.
func (l *line) closeIdle() {
	select {
	case l.turn <- struct{}{}:
		l.cut()
		l.turn.pass()
	default: // Its user sets the timer again.
	}
}

// turn is had by one at a time, in the order in which they come.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

// take waits until ctx ends.
func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t turn) pass() { <-t }

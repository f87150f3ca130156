package e2e_test

import (
	"encoding/binary"
	"net"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nova-events/idempotent-consumer/e2e/broker"
)

// However many partitions a member has: two connections to their broker fetch from them.
func TestManyPartitionsShareConnections(t *testing.T) {
	t.Parallel()
	const partitions, most = 200, 2
	var fetching fetchConnections
	s := setup(t, broker.InProcess(t, kfake.ListenFn(fetching.listen)), partitions)
	s.broker.Produce(t, s.topic, events(0, partitions, partitions))
	m := s.start(t, nil)
	s.awaitEffects(t, partitions)
	s.broker.Produce(t, s.topic, events(partitions, partitions, partitions))
	s.awaitCommitted(t, 2*partitions)
	m.leave(t)
	s.verify(t, 2*partitions)
	if peak := fetching.most(); peak == 0 || peak > most {
		t.Errorf("%d connections at a time had fetches, want %d at most", peak, most)
	}
}

// fetchConnections counts the connections of a broker over which somebody fetches.
type fetchConnections struct {
	mu   sync.Mutex
	open map[*watchedConn]struct{}
	peak int
}

func (f *fetchConnections) most() int {
	f.mu.Lock()
	defer f.mu.Unlock()

	return f.peak
}

func (f *fetchConnections) fetches(c *watchedConn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open == nil {
		f.open = make(map[*watchedConn]struct{})
	}
	f.open[c] = struct{}{}
	f.peak = max(f.peak, len(f.open))
}

func (f *fetchConnections) closed(c *watchedConn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.open, c)
}

func (f *fetchConnections) listen(network, address string) (net.Listener, error) {
	listener, err := net.Listen(network, address) //nolint:noctx // kfake has no context for it.

	return &watchedListener{listener, f}, err
}

type watchedListener struct {
	net.Listener

	fetching *fetchConnections
}

func (l *watchedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()

	return &watchedConn{Conn: c, fetching: l.fetching}, err
}

// watchedConn looks at the headers of the requests that are read from it.
type watchedConn struct {
	net.Conn

	fetching *fetchConnections
	header   []byte // length and key, as far as they are read
	skip     int    // bytes of the request that are still to come
}

func (c *watchedConn) Read(b []byte) (int, error) {
	const lengthBytes, headerBytes = 4, 6
	n, err := c.Conn.Read(b)
	for b = b[:n]; len(b) > 0; {
		if c.skip > 0 {
			skipped := min(c.skip, len(b))
			c.skip -= skipped
			b = b[skipped:]

			continue
		}
		taken := min(headerBytes-len(c.header), len(b))
		c.header = append(c.header, b[:taken]...)
		b = b[taken:]
		if len(c.header) < headerBytes {
			break
		}
		if key := binary.BigEndian.Uint16(c.header[lengthBytes:]); key == uint16(kmsg.Fetch) {
			c.fetching.fetches(c)
		}
		c.skip = int(binary.BigEndian.Uint32(c.header)) - (headerBytes - lengthBytes)
		c.header = c.header[:0]
	}

	return n, err
}

func (c *watchedConn) Close() error {
	c.fetching.closed(c)

	return c.Conn.Close()
}

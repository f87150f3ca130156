package broker

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

// Wire is what has passed between clients and a broker.
type Wire struct {
	listener net.Listener
	target   string
	group    sync.WaitGroup

	mu       sync.Mutex
	open     map[net.Conn]bool
	most     int                   // connections that were open at the same time
	requests map[int16][]time.Time // by the key of the API: when each came
}

// Watched starts an Apache Kafka of one broker, which ends with the test. What its clients send passes over the
// wire; the Broker's own requests do, too.
func Watched(t testing.TB) (*Broker, *Wire) {
	t.Helper()
	listener, err := net.Listen("tcp", loopback(0)) //nolint:noctx // It takes no time.
	if err != nil {
		t.Fatal(err)
	}
	w := &Wire{listener: listener, open: map[net.Conn]bool{}, requests: map[int16][]time.Time{}}
	t.Cleanup(w.close)
	var accepting sync.Once
	cluster, err := startBehind(1, func(addr string) string {
		w.target = addr
		accepting.Do(func() { w.group.Go(w.accept) })

		return listener.Addr().String()
	})
	skipWithoutKafka(t, err)
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	})

	return newBroker(t, []string{listener.Addr().String()}, kafkaMinSession), w
}

// Reset forgets all requests, and takes the open connections for the most.
func (w *Wire) Reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.most = len(w.open)
	clear(w.requests)
}

// Connections tells how many are open, and how many were at the same time.
func (w *Wire) Connections() (open, most int) {
	w.mu.Lock()
	defer w.mu.Unlock()

	return len(w.open), w.most
}

// Requests tells when the requests of an API came.
func (w *Wire) Requests(api int16) []time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()

	return append([]time.Time(nil), w.requests[api]...)
}

func (w *Wire) accept() {
	for {
		client, err := w.listener.Accept()
		if err != nil {
			return // It is closed.
		}
		w.group.Go(func() { w.serve(client) })
	}
}

// serve passes on what a client sends, request by request, and what it is answered.
func (w *Wire) serve(client net.Conn) {
	broker, err := net.Dial("tcp", w.target) //nolint:noctx // It is near.
	if err != nil {
		_ = client.Close()

		return
	}
	w.mu.Lock()
	w.open[client] = true
	w.most = max(w.most, len(w.open))
	w.mu.Unlock()
	w.group.Go(func() {
		_, _ = io.Copy(client, broker)
		_ = client.Close()
	})
	w.passRequests(broker, client)
	_, _ = client.Close(), broker.Close()
	w.mu.Lock()
	delete(w.open, client)
	w.mu.Unlock()
}

func (w *Wire) passRequests(broker io.Writer, client io.Reader) {
	const start = 4 + 2 // its size and the key of its API
	for {
		var header [start]byte
		if _, err := io.ReadFull(client, header[:]); err != nil {
			return
		}
		api := int16(binary.BigEndian.Uint16(header[4:])) //nolint:gosec // They are the same bits.
		w.mu.Lock()
		w.requests[api] = append(w.requests[api], time.Now())
		w.mu.Unlock()
		if _, err := broker.Write(header[:]); err != nil {
			return
		}
		if _, err := io.CopyN(broker, client, int64(binary.BigEndian.Uint32(header[:]))-2); err != nil {
			return
		}
	}
}

func (w *Wire) close() {
	_ = w.listener.Close()
	w.mu.Lock()
	for client := range w.open {
		_ = client.Close()
	}
	w.mu.Unlock()
	w.group.Wait()
}

// CloseIdleConnections closes those of Client.
func (b *Broker) CloseIdleConnections() { b.Client.Transport.(*kafka.Transport).CloseIdleConnections() } //nolint:forcetypeassert // It is one.

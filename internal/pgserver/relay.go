package pgserver

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
)

// relay is an address that leads to a server, which can be another one later.
type relay struct {
	listener net.Listener
	running  sync.WaitGroup

	mu      sync.Mutex
	target  string // host:port; "" refuses all connections
	clients map[net.Conn]struct{}
}

// newRelay listens on a port of its own and refuses connections until aim is called.
func newRelay(ctx context.Context) (*relay, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for connections: %w", err)
	}
	r := &relay{listener: listener, clients: make(map[net.Conn]struct{})}
	r.running.Go(func() { r.serve(context.WithoutCancel(ctx)) }) // It ends with close.

	return r, nil
}

func (r *relay) address() string { return r.listener.Addr().String() }

// aim cuts all connections and leads new ones to another server, or refuses them if target is
// empty.
func (r *relay) aim(target string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.target = target
	for client := range r.clients {
		_ = client.Close()
	}
}

func (r *relay) close() {
	_ = r.listener.Close()
	r.aim("")
	r.running.Wait()
}

func (r *relay) serve(ctx context.Context) {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return // closed
		}
		r.running.Go(func() { r.connect(ctx, client) })
	}
}

// connect leads a client to the server until one of them goes or aim is called.
func (r *relay) connect(ctx context.Context, client net.Conn) {
	defer client.Close() //nolint:errcheck // It may be closed already.
	target := r.add(client)
	defer r.remove(client)
	if target == "" {
		return
	}
	var dialer net.Dialer
	server, err := dialer.DialContext(ctx, "tcp", target)
	if err != nil {
		return // The client sees that the server is gone.
	}
	defer server.Close() //nolint:errcheck // It may be closed already.

	var directions sync.WaitGroup
	pass := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		_, _ = client.Close(), server.Close()
	}
	directions.Go(func() { pass(server, client) })
	directions.Go(func() { pass(client, server) })
	directions.Wait()
}

// add returns where the client is to be led. From then on aim cuts it.
func (r *relay) add(client net.Conn) (target string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clients[client] = struct{}{}

	return r.target
}

func (r *relay) remove(client net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.clients, client)
}

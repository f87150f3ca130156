package main

import (
	"context"
	"net"
	"sync"
	"time"
)

// wire is a connection's way to a server, on which bytes can be late, come in small parts, or not at all.
type wire struct {
	listener net.Listener
	target   string
	running  sync.WaitGroup

	mu      sync.Mutex
	weather weather
	changed chan struct{} // closed when the weather changes
	conns   map[net.Conn]struct{}
}

// weather is how a wire passes bytes on. The zero value is fair.
type weather struct {
	delay   time.Duration // of each part
	part    int           // the longest part; 0: what comes at once
	there   bool          // nothing passes to the server
	andBack bool          // nothing passes back
}

func newWire(ctx context.Context, target string) (*wire, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &wire{listener: listener, target: target, changed: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	w.running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // It is closed.
			}
			w.running.Go(func() { w.connect(ctx, client) })
		}
	})

	return w, nil
}

func (w *wire) addr() string { return w.listener.Addr().String() }

// set changes the weather.
func (w *wire) set(now weather) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.weather = now
	close(w.changed)
	w.changed = make(chan struct{})
}

// cut cuts all connections.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for conn := range w.conns {
		_ = conn.Close()
	}
}

func (w *wire) close() {
	_ = w.listener.Close()
	w.set(weather{})
	w.cut()
	w.running.Wait()
}

func (w *wire) connect(ctx context.Context, client net.Conn) {
	defer client.Close() //nolint:errcheck // It may be closed already.
	var dialer net.Dialer
	server, err := dialer.DialContext(ctx, "tcp", w.target)
	if err != nil {
		return
	}
	defer server.Close() //nolint:errcheck // As above.
	w.mu.Lock()
	w.conns[client], w.conns[server] = struct{}{}, struct{}{}
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		delete(w.conns, client)
		delete(w.conns, server)
		w.mu.Unlock()
	}()
	gone := make(chan struct{})
	var directions sync.WaitGroup
	var once sync.Once
	pass := func(to, from net.Conn, stalled func(weather) bool) {
		w.pass(to, from, stalled, gone)
		_, _ = client.Close(), server.Close()
		once.Do(func() { close(gone) })
	}
	directions.Go(func() { pass(server, client, func(now weather) bool { return now.there }) })
	directions.Go(func() { pass(client, server, func(now weather) bool { return now.andBack }) })
	directions.Wait()
}

// pass passes bytes on in one direction, as the weather is.
func (w *wire) pass(to, from net.Conn, stalled func(weather) bool, gone <-chan struct{}) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		for rest := buffer[:n]; len(rest) > 0; {
			now, ok := w.await(stalled, gone)
			if !ok {
				return
			}
			part := rest
			if now.part > 0 && len(part) > now.part {
				part = part[:now.part]
			}
			if _, err := to.Write(part); err != nil {
				return
			}
			rest = rest[len(part):]
		}
		if err != nil {
			return
		}
	}
}

// await returns the weather once it lets bytes pass, after their delay.
func (w *wire) await(stalled func(weather) bool, gone <-chan struct{}) (weather, bool) {
	for {
		w.mu.Lock()
		now, changed := w.weather, w.changed
		w.mu.Unlock()
		if !stalled(now) {
			if now.delay == 0 {
				return now, true
			}
			select {
			case <-time.After(now.delay):
				return now, true
			case <-gone:
				return now, false
			}
		}
		select {
		case <-changed:
		case <-gone:
			return now, false
		}
	}
}

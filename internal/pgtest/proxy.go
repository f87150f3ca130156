package pgtest

import (
	"context"
	"net"
	"net/netip"
	"regexp"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// CutMode says how a Proxy cuts the connection that sends a COMMIT.
type CutMode int

const (
	// DropBeforeCommit cuts before the COMMIT reaches the server: it does not land.
	DropBeforeCommit CutMode = iota + 1

	// DropAfterCommit passes the COMMIT on, waits for the server's answer and keeps it from
	// the client: it lands.
	DropAfterCommit

	// ForwardCommitThenCut passes the COMMIT on and cuts at once: it lands or not.
	ForwardCommitThenCut

	// Swallow keeps the COMMIT and all that follows, in both directions, and leaves the connection open: the client
	// hears nothing until it gives up, as in a network that loses packets.
	Swallow
)

var commit = regexp.MustCompile(`(?i)(^|;)\s*commit(\s+(work|transaction))?\s*;?\s*$`)

// IsCommit reports whether SQL ends with a COMMIT. (The simple protocol sends a whole
// pgx.Batch as one text.)
func IsCommit(sql string) bool { return commit.MatchString(sql) }

// Proxy stands between a client and PostgreSQL and breaks their connection on command. The
// client must not use TLS: connect with DB.Pool and the option Via.
type Proxy struct {
	listener net.Listener
	network  string // of upstream: tcp or unix
	upstream string
	running  sync.WaitGroup

	mu      sync.Mutex
	links   map[*link]struct{}
	refuses bool
	closed  bool
	armed   *cut
}

// cut is what the proxy waits for.
type cut struct {
	mode     CutMode
	matches  func(sql string) bool
	answered func() // told before the client sees the answer; nil: it does not
	done     chan struct{}
}

// NewProxy starts a proxy to the database's server. It stops when the test ends.
func NewProxy(t testing.TB, db *DB) *Proxy {
	t.Helper()
	p, err := StartProxy(t.Context(), db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)

	return p
}

// StartProxy starts a proxy to the server of a connection string, for programs that are no tests.
func StartProxy(ctx context.Context, dsn string) (*Proxy, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}

	p := &Proxy{listener: listener, links: make(map[*link]struct{})}
	p.network, p.upstream = pgconn.NetworkAddress(cfg.Host, cfg.Port)
	p.running.Go(func() { p.serve(ctx) })

	return p, nil
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() netip.AddrPort {
	return p.listener.Addr().(*net.TCPAddr).AddrPort() //nolint:forcetypeassert // It listens on TCP.
}

// CutNextCommit cuts the next connection that sends a COMMIT, once. The channel is closed
// when that has happened.
func (p *Proxy) CutNextCommit(mode CutMode) <-chan struct{} {
	return p.CutNextStatement(mode, IsCommit)
}

// CutNextStatement is CutNextCommit for another statement, such as an INSERT that is a
// transaction of its own. It replaces what was to be cut before. matches gets the SQL, or
// its first KiB, and must not call the proxy.
func (p *Proxy) CutNextStatement(mode CutMode, matches func(sql string) bool) <-chan struct{} {
	return p.arm(&cut{mode: mode, matches: matches, done: make(chan struct{})})
}

// CutAfterAnswer is CutNextStatement for a crash behind the statement: the client sees the server's answer, after
// answered was called, and then the connection is cut.
func (p *Proxy) CutAfterAnswer(matches func(sql string) bool, answered func()) <-chan struct{} {
	return p.arm(&cut{mode: DropAfterCommit, matches: matches, answered: answered, done: make(chan struct{})})
}

func (p *Proxy) arm(c *cut) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = c

	return c.done
}

// CutAll cuts all connections. New ones are let in.
func (p *Proxy) CutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutAll()
}

// Refuse cuts all connections and closes new ones at once until Resume is called.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuses = true
	p.cutAll()
}

// Resume lets new connections in again.
func (p *Proxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuses = false
}

func (p *Proxy) cutAll() {
	for l := range p.links {
		l.cut()
	}
}

// Close stops it.
func (p *Proxy) Close() {
	_ = p.listener.Close()
	p.mu.Lock()
	p.closed = true
	p.cutAll()
	p.mu.Unlock()
	p.running.Wait()
}

func (p *Proxy) serve(ctx context.Context) {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		p.running.Go(func() { p.connect(ctx, client) })
	}
}

// connect links a client with the server until one of them goes or the link is cut.
func (p *Proxy) connect(ctx context.Context, client net.Conn) {
	var dialer net.Dialer
	server, err := dialer.DialContext(ctx, p.network, p.upstream)
	if err != nil {
		_ = client.Close() // The client sees that the server is gone.

		return
	}
	l := newLink(client, server)
	defer l.cut()
	if p.add(l) {
		defer p.remove(l)
		l.run(p.take)
	}
}

func (p *Proxy) add(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.refuses {
		return false
	}
	p.links[l] = struct{}{}

	return true
}

func (p *Proxy) remove(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
}

// take returns the cut to make because of a statement, if any.
func (p *Proxy) take(sql string) *cut {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.armed == nil || !p.armed.matches(sql) {
		return nil
	}
	taken := p.armed
	p.armed = nil

	return taken
}

package simulation

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
	"github.com/nova-events/idempotent-consumer/internal/engine"
)

// drainTimeout is how long handlers may go on after their partition was revoked.
const drainTimeout = 2 * time.Second

// process is a consumer from its start to its end, or to when it is killed.
type process struct {
	world  *world
	name   string // of its place among the members
	engine *engine.Engine
	pool   *pgxpool.Pool

	ctx  context.Context //nolint:containedctx // It ends when the process is killed, or stopped.
	stop context.CancelFunc

	mu    sync.Mutex
	ready bool // it can be given partitions
	dead  bool // killed: nothing of it reaches the world any more
	links []*link
}

func nameOf(member int) string { return "m" + strconv.Itoa(member) }

// start starts a process of a member.
func (w *world) start(member int) *process {
	p := &process{world: w, name: nameOf(member)}
	p.ctx, p.stop = context.WithCancel(context.Background())
	pool, err := pgxpool.NewWithConfig(context.Background(), w.poolConfig(p))
	w.must(err)
	p.pool = pool
	guard, err := idem.New(pool, idem.Config{Consumer: "simulated", Hooks: w.guardHooks(), Logger: w.logger(p.name)})
	w.must(err)
	config, err := w.config(p).Complete(false)
	w.must(err)
	p.engine = engine.New(guard, config, "group")
	w.running.Go(func() {
		if err := p.engine.Register(p.ctx); err != nil {
			w.failf("%s: register: %v", p.name, err)
		}
		if err := p.engine.Bind(p.ctx, "cluster"); err != nil {
			w.failf("%s: bind: %v", p.name, err)
		}
		p.mu.Lock()
		p.ready = p.ctx.Err() == nil
		p.mu.Unlock()
		p.engine.Watch(p.ctx)
	})

	return p
}

func (w *world) poolConfig(p *process) *pgxpool.Config {
	config := w.pool.Copy()
	config.ConnConfig.RuntimeParams["application_name"] = p.name
	config.ConnConfig.DialFunc = p.dial
	config.MaxConns = int32(2 + 2*w.plan.partitions) //nolint:gosec // It is small.

	return config
}

// config is that of the engine.
func (w *world) config(p *process) consume.Config {
	d := w.plan.seed.of("config " + p.name)
	c := consume.Config{
		Mode: w.plan.mode, CommitInterval: d.between(200*time.Millisecond, time.Second), DrainTimeout: drainTimeout, Hooks: w.hooks(), Logger: w.logger(p.name),
		Failure: consume.FailureConfig{
			Retry:   consume.RetryPolicy{MaxAttempts: 3, FirstPause: 50 * time.Millisecond, LongestPause: 500 * time.Millisecond},
			Breaker: consume.BreakerPolicy{Failures: w.plan.breaker, Patience: 5 * time.Second}, MaxStarts: 20, ParkKeys: w.plan.parks, ReplayInterval: d.between(time.Second, 2*time.Second),
		},
		Batch: consume.BatchConfig{Size: 6}, OnOutOfRange: consume.SkipToEarliest, OnUnreadable: consume.StoreUnreadable,
	}
	if c.Mode == consume.ByCheckpoint {
		c.EventID = func(consume.Record) (string, error) { panic("nobody needs it") }
	}
	switch w.plan.form {
	case own:
		c.Handle, c.OwnTransactions = w.handle, true
	case batches:
		c.HandleBatch = w.handleBatch
	case queues:
		c.HandleQueue = w.handleQueue
	case lanes:
		c.Handle, c.Lanes = w.handle, consume.LanesConfig{Count: 2, LookAhead: 6}
	case shared, forms:
		c.Handle = w.handle
	}

	return c
}

func (p *process) isDead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()

	return p.dead
}

func (p *process) isReady() bool {
	p.mu.Lock()
	defer p.mu.Unlock()

	return p.ready && !p.dead && p.ctx.Err() == nil
}

// kill cuts the process off from the world, which learns of it after a while, and ends its goroutines.
func (p *process) kill(lingers time.Duration) {
	p.mu.Lock()
	p.dead = true
	links := p.links
	p.mu.Unlock()
	for _, l := range links {
		l.cut()
	}
	p.stop()
	p.world.running.Go(func() {
		time.Sleep(lingers)
		for _, l := range links {
			_ = l.Conn.Close()
		}
	})
}

func (p *process) dial(ctx context.Context, network, address string) (net.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.EHOSTUNREACH}
	}
	conn, err := p.world.pg.Dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	l := &link{Conn: conn}
	p.links = append(p.links, l)

	return l, nil
}

// link is a connection of a process that may be killed: then the server does not learn of it at once.
type link struct {
	net.Conn

	mu    sync.Mutex
	isCut bool
}

func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isCut = true
	_ = l.Conn.SetDeadline(time.Unix(1, 0))
}

// unlessCut does something that has no effect any more once the process is dead.
func (l *link) unlessCut(do func() error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isCut {
		return nil
	}

	return do()
}

// Read implements net.Conn.
func (l *link) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)

	return n, asOfTCP("read", err)
}

// Write implements net.Conn.
func (l *link) Write(b []byte) (int, error) {
	n, err := l.Conn.Write(b)

	return n, asOfTCP("write", err)
}

// asOfTCP is the error of a net.Pipe as a TCP connection has it.
func asOfTCP(op string, err error) error {
	if errors.Is(err, io.ErrClosedPipe) {
		return &net.OpError{Op: op, Net: "tcp", Err: syscall.ECONNRESET}
	}

	return err
}

// Close implements net.Conn.
func (l *link) Close() error { return l.unlessCut(l.Conn.Close) }

// SetDeadline implements net.Conn.
func (l *link) SetDeadline(at time.Time) error {
	return l.unlessCut(func() error { return l.Conn.SetDeadline(at) })
}

// SetReadDeadline implements net.Conn.
func (l *link) SetReadDeadline(at time.Time) error {
	return l.unlessCut(func() error { return l.Conn.SetReadDeadline(at) })
}

// SetWriteDeadline implements net.Conn.
func (l *link) SetWriteDeadline(at time.Time) error {
	return l.unlessCut(func() error { return l.Conn.SetWriteDeadline(at) })
}

// run is a partition from when a process is given it to when it has given it up.
type run struct {
	process   *process
	partition *partition
	number    int64
	revoke    context.CancelFunc
	kill      context.CancelFunc // of what handlers do
	pending   *engine.Place
	ended     chan struct{}

	unreleased atomic.Int64 // batches whose memory is not given back
}

func (r *run) id() int64 { return int64(r.partition.number)<<20 | r.number }

// own gives a partition to a process.
func (w *world) own(p *process, part *partition) {
	revoked, revoke := context.WithCancel(p.ctx)
	work, kill := context.WithCancel(context.WithoutCancel(p.ctx))
	r := &run{process: p, partition: part, number: part.assigned, revoke: revoke, kill: kill, ended: make(chan struct{})}
	part.assigned++
	part.run = r
	d := w.plan.seed.of("memory", r.id())
	s := &source{run: r, world: w, waits: d.once(2)}
	w.logf("%s gets partition %d", p.name, part.number)
	w.running.Go(func() {
		<-revoked.Done()
		if p.isDead() {
			kill()

			return
		}
		select {
		case <-time.After(drainTimeout):
			kill()
		case <-r.ended:
		}
	})
	w.running.Go(func() {
		for backoff.Sleep(revoked, 300*time.Millisecond) {
			_ = s.flush(revoked)
		}
	})
	w.running.Go(func() {
		p.engine.Run(revoked, work, engine.Assignment{
			Partition: idem.Partition{Topic: topic, Number: part.number}, Source: s, Logger: w.logger(p.name),
		}, func(rejoin bool, err error) { w.ended(r, s, rejoin, err) }) //nolint:contextcheck // Its own has ended.
	})
}

// ended is called when an owner has given its partition up.
func (w *world) ended(r *run, s *source, rejoin bool, err error) {
	if !r.process.isDead() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_ = s.flush(ctx)
		cancel()
	}
	r.revoke()
	r.kill()
	close(r.ended)
	if n := r.unreleased.Load(); n != 0 && !r.process.isDead() {
		w.failf("%s: partition %d: %d batches are not released", r.process.name, r.partition.number, n)
	}
	w.logf("%s gives up partition %d (%v, %v)", r.process.name, r.partition.number, rejoin, err)
	if err != nil && !r.process.isDead() {
		w.failf("%s: partition %d: Run: %v", r.process.name, r.partition.number, err)
		r.process.stop()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.partition.run == r {
		r.partition.run = nil
	}
}

// logger writes to the trace, without what differs each time.
func (w *world) logger(name string) *slog.Logger {
	if w.trace == nil {
		return slog.New(slog.DiscardHandler)
	}

	return slog.New(slog.NewTextHandler(w.trace, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if slices.Contains([]string{slog.TimeKey, "stack", "claim_id", "dead_letter", "session"}, a.Key) {
			return slog.Attr{}
		}

		return a
	}})).With("process", name)
}

package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/consume"
)

const (
	// poolWaitAfter is how long the pool must have no free connection before that is reported.
	poolWaitAfter = 5 * time.Second

	// poolWatchInterval is how often the consumer looks.
	poolWatchInterval = time.Second

	// slowAfter is how long a handler or Config.EventID may run, or PostgreSQL be asked, before that is reported, and how often it is.
	slowAfter = time.Minute

	// poolWaitLine is how often that is reported while it lasts.
	poolWaitLine = time.Minute
)

// busy is what a worker does now: the event ids that it reads, the handler that it runs, or what it asks PostgreSQL before and behind it.
type busy struct {
	since  atomic.Int64 // Unix time in nanoseconds; 0: none
	offset atomic.Int64 // of its first record
	told   atomic.Int64 // after how many slowAfter somebody was told
}

func (b *busy) begin(offset int64) {
	b.told.Store(0)
	b.offset.Store(offset)
	b.since.Store(time.Now().UnixNano())
}

func (b *busy) end() { b.since.Store(0) }

// handles says that a handler begins: PostgreSQL has answered.
func (w *worker) handles(offset int64) {
	w.asks.end()
	w.runs.begin(offset)
}

// handled says that the handler has returned: PostgreSQL is asked to commit.
func (w *worker) handled() {
	w.runs.end()
	w.asks.begin(w.runs.offset.Load())
}

// slow returns for how long it has taken, and at which offset, if that is to be reported now.
func (b *busy) slow(now time.Time) (running time.Duration, offset int64) {
	since := b.since.Load()
	if since == 0 {
		return 0, 0
	}
	running = now.Sub(time.Unix(0, since))
	if n := int64(running / slowAfter); n > b.told.Load() {
		b.told.Store(n)

		return running, b.offset.Load()
	}

	return 0, 0
}

// poolWatch reports when the guard's pool has no free connection. One goroutine looks at the pool once a
// second; a handler costs two stores.
type poolWatch struct {
	mu      sync.Mutex
	workers map[*worker]struct{}

	acquired int64     // connections that the pool had given when it last was seen to move
	since    time.Time // when that was
	told     time.Time
}

// add makes the watch look at a worker until remove is called.
func (p *poolWatch) add(w *worker) (remove func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.workers == nil {
		p.workers = make(map[*worker]struct{})
	}
	p.workers[w] = struct{}{}

	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.workers, w)
	}
}

// all returns the workers that the watch knows now.
func (p *poolWatch) all() []*worker {
	p.mu.Lock()
	defer p.mu.Unlock()

	return slices.Collect(maps.Keys(p.workers))
}

// run looks until ctx ends.
func (p *poolWatch) run(ctx context.Context, e *Engine) {
	ticker := time.NewTicker(poolWatchInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			p.tellSlow(ctx, now)
			if stat := e.guard.Pool().Stat(); p.stuck(stat, now) {
				p.tell(ctx, e, stat, now)
			}
		}
	}
}

// tellSlow reports what does not return, and records that wait for PostgreSQL, once a minute.
func (p *poolWatch) tellSlow(ctx context.Context, now time.Time) {
	for _, w := range p.all() {
		if waited, offset := w.asks.slow(now); waited > 0 {
			w.log.WarnContext(ctx, "consume: PostgreSQL has not answered yet", "offset", offset, "waited", waited)
		}
		w.tellRunning(ctx, &w.reads, now, "consume: EventID has not returned yet")
		w.tellRunning(ctx, &w.runs, now, "consume: a handler has not returned yet")
	}
}

func (w *worker) tellRunning(ctx context.Context, b *busy, now time.Time, line string) {
	if running, offset := b.slow(now); running > 0 {
		w.tell(ctx, offset, consume.Event{Kind: consume.EventHandlerSlow, Duration: running})
		w.log.WarnContext(ctx, line, "offset", offset, "running", running)
	}
}

// stuck reports whether it is time to report that the pool has had no free connection.
func (p *poolWatch) stuck(stat *pgxpool.Stat, now time.Time) bool {
	if count := stat.AcquireCount(); stat.AcquiredConns() < stat.MaxConns() || count != p.acquired || p.since.IsZero() {
		p.acquired, p.since, p.told = count, now, time.Time{}

		return false
	}
	if now.Sub(p.since) < poolWaitAfter || now.Sub(p.told) < poolWaitLine {
		return false
	}
	p.told = now

	return true
}

// tell reports each handler that has been running all that time, or only the pool if there is none.
func (p *poolWatch) tell(ctx context.Context, e *Engine, stat *pgxpool.Stat, now time.Time) {
	reason := &consume.PoolWaitError{MaxConns: stat.MaxConns(), Waited: poolWaitAfter}
	var handlers []string
	for _, w := range p.all() {
		since := w.runs.since.Load()
		if running := now.Sub(time.Unix(0, since)); since > 0 && running >= poolWaitAfter {
			offset := w.runs.offset.Load()
			handlers = append(handlers, fmt.Sprintf("%v at offset %d", w.partition, offset))
			w.tell(ctx, offset, consume.Event{Kind: consume.EventPoolWait, Duration: running, Err: reason})
		}
	}
	if tell := e.config.Hooks.Event; tell != nil && len(handlers) == 0 {
		tell(ctx, consume.Event{Place: consume.Place{Partition: None, Offset: None}, Kind: consume.EventPoolWait, Err: reason})
	}
	slices.Sort(handlers)
	e.config.Logger.WarnContext(ctx, "consume: the guard's pool has no free connection",
		"max_conns", stat.MaxConns(), "acquired", stat.AcquiredConns(), "waited_so_far", stat.EmptyAcquireCount(),
		"since", now.Sub(p.since), "handlers", handlers, "error", reason)
}

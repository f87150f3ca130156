package kafkaadapter

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// poolWaitAfter is how long the pool has no connection to give before somebody is told.
	poolWaitAfter = 5 * time.Second

	// poolWatchInterval is how often the consumer looks.
	poolWatchInterval = time.Second

	// poolWaitLine is how often it tells while that lasts.
	poolWaitLine = time.Minute
)

// PoolWaitError is Event.Err of an EventPoolWait: for five seconds all connections of the guard's pool
// have been in use and none has come free. A handler that takes a connection from the same pool, in place
// of using its transaction, waits for ever if all the others do so too. Let handlers use their
// transaction, give them a pool of their own, or make the pool larger (pool_max_conns): see Config.Lanes.
type PoolWaitError struct {
	MaxConns int32 // the pool's size
}

func (e *PoolWaitError) Error() string {
	return fmt.Sprintf("all %d connections of the guard's pool have been in use for %v or longer; a handler that waits for one, in place of using its transaction, may wait for ever",
		e.MaxConns, poolWaitAfter)
}

// checkPool refuses a pool that is too small for one partition.
func checkPool(pool *pgxpool.Pool, config Config) error {
	if size := pool.Stat().MaxConns(); int(size) < config.Lanes {
		return fmt.Errorf("%w: the guard's pool has %d connections (pool_max_conns), which is too few for %d Lanes, even of one partition",
			ErrInvalidConfig, size, config.Lanes)
	}

	return nil
}

// busy is the handler that a worker runs now.
type busy struct {
	since  atomic.Int64 // Unix time in nanoseconds; 0: none
	offset atomic.Int64 // of its first record
}

func (b *busy) begin(offset int64) {
	b.offset.Store(offset)
	b.since.Store(time.Now().UnixNano())
}

func (b *busy) end() { b.since.Store(0) }

// poolWatch tells when the guard's pool has no connection to give. One goroutine looks at the pool, once a
// second; a handler costs two stores.
type poolWatch struct {
	mu      sync.Mutex
	workers map[*worker]struct{}

	acquired int64     // connections that the pool had given when it last was seen to move
	since    time.Time // when that was
	told     time.Time
}

// add has the watch know a worker until remove is called.
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

// run looks until ctx ends.
func (p *poolWatch) run(ctx context.Context, c *Consumer) {
	ticker := time.NewTicker(poolWatchInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			if stat := c.guard.Pool().Stat(); p.stuck(stat, now) {
				p.tell(ctx, c, stat, now)
			}
		}
	}
}

// stuck reports whether it is time to tell that the pool has had no connection to give.
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

// tell tells of each handler that has been running all that time, and of the pool if there is none.
func (p *poolWatch) tell(ctx context.Context, c *Consumer, stat *pgxpool.Stat, now time.Time) {
	p.mu.Lock()
	workers := slices.Collect(maps.Keys(p.workers))
	p.mu.Unlock()
	reason := &PoolWaitError{MaxConns: stat.MaxConns()}
	var handlers []string
	for _, w := range workers {
		since := w.busy.since.Load()
		if running := now.Sub(time.Unix(0, since)); since > 0 && running >= poolWaitAfter {
			offset := w.busy.offset.Load()
			handlers = append(handlers, fmt.Sprintf("%v at offset %d", w.partition, offset))
			w.observe(Event{Kind: EventPoolWait, Offset: offset, Duration: running, Err: reason})
		}
	}
	if len(handlers) == 0 {
		c.config.Observe(Event{Kind: EventPoolWait, Partition: none, Offset: none, Err: reason})
	}
	slices.Sort(handlers)
	c.config.Logger.WarnContext(ctx, "kafkaadapter: the guard's pool has no connection to give",
		"max_conns", stat.MaxConns(), "acquired", stat.AcquiredConns(), "waited_so_far", stat.EmptyAcquireCount(),
		"since", now.Sub(p.since), "handlers", handlers, "error", reason)
}

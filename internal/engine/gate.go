package engine

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/onceper"
)

const (
	// gateInterval is how often a process looks whether its consumer is paused.
	gateInterval = time.Second

	// gatePatience is how long it waits for the answer: one that hangs must not hide the next.
	gatePatience = 10 * time.Second
)

// gate is closed while an operator has paused the consumer ("idemctl consumer pause"). What runs handlers
// waits before it begins; what is in progress goes on.
//
// Hooks are called with mu, so that the End of a pause follows its Begin. What runs handlers does not need it.
type gate struct {
	opens atomic.Pointer[chan struct{}] // closed when the pause ends; nil while it is open
	stood atomic.Int64                  // how long the pauses were that have ended, in nanoseconds

	mu         sync.Mutex
	pause      *idem.Pause             // nil while it is open
	closed     time.Time               // when it was closed last
	trouble    onceper.Trouble         // that nobody can tell whether there is a pause
	partitions map[*worker]*standstill // by their workers, not those of lanes
}

// wait waits while the gate is closed, and reports whether ctx is alive then.
func (g *gate) wait(ctx context.Context) bool {
	if opens := g.opens.Load(); opens != nil {
		select {
		case <-*opens:
		case <-ctx.Done():
		}
	}

	return ctx.Err() == nil
}

// isOpen reports whether no operator has paused the consumer.
func (g *gate) isOpen() bool { return g.opens.Load() == nil }

// clock is the time without the pauses that have ended: they take nothing of the breaker's patience.
func (g *gate) clock() time.Time { return time.Now().Add(-time.Duration(g.stood.Load())) }

// add has the pauses of a partition told, until remove is called.
func (g *gate) add(ctx context.Context, w *worker) (remove func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.partitions == nil {
		g.partitions = make(map[*worker]*standstill)
	}
	g.partitions[w] = new(standstill)
	if g.pause != nil {
		g.tell(ctx, w)
	}

	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.partitions[w].end(false)
		delete(g.partitions, w)
	}
}

// set closes or opens the gate, and tells.
func (g *gate) set(ctx context.Context, e *Engine, pause *idem.Pause) {
	g.mu.Lock()
	defer g.mu.Unlock()
	former := g.pause
	g.pause = pause
	switch {
	case former == nil && pause != nil:
		opens := make(chan struct{})
		g.closed = time.Now()
		g.opens.Store(&opens)
		e.config.Logger.InfoContext(ctx, "consume: an operator has paused the consumer", "since", pause.At, "by", pause.By, "reason", pause.Reason)
		for w := range g.partitions {
			g.tell(ctx, w)
		}
	case former != nil && pause == nil:
		e.config.Logger.InfoContext(ctx, "consume: an operator has resumed the consumer", "paused_since", former.At, "by", former.By, "reason", former.Reason)
		g.stood.Add(int64(time.Since(g.closed)))
		close(*g.opens.Swap(nil))
		for _, s := range g.partitions {
			s.end(true)
		}
	}
}

// tell tells that a partition's pause begins. The caller has the lock.
func (g *gate) tell(ctx context.Context, w *worker) {
	g.partitions[w].begin(ctx, w, w.stands(consume.PauseOperator, None, errors.New(g.pause.String())))
}

// look finds out whether the consumer is paused. Without an answer the gate stays as it is.
func (g *gate) look(ctx context.Context, e *Engine) error {
	asking, cancel := context.WithTimeout(ctx, gatePatience)
	defer cancel()
	pause, err := e.guard.Paused(asking)
	if err == nil {
		g.set(ctx, e, pause)
	}

	return err
}

// run looks every second, until ctx ends.
func (g *gate) run(ctx context.Context, e *Engine) {
	ticker := time.NewTicker(gateInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if err := g.look(ctx, e); ctx.Err() != nil {
				return
			} else if err == nil {
				g.trouble.Passed()
			} else if since, due := g.trouble.Lasts(waitLine); due {
				e.config.Logger.WarnContext(ctx, "consume: cannot find out whether the consumer is paused", "paused", !g.isOpen(), "since", since, "error", err)
			}
		}
	}
}

// mayBegin waits while an operator has paused the consumer, and reports whether ctx is alive then. The worker
// holds nothing meanwhile but the records that it was given.
func (w *worker) mayBegin(ctx context.Context) bool {
	if w.engine.gate.isOpen() {
		return ctx.Err() == nil
	}
	w.condition.rest(w)
	if !w.engine.gate.wait(ctx) {
		return false
	}
	w.condition.work(w)

	return true
}

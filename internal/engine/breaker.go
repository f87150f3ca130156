package engine

import (
	"context"
	"sync"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
)

// breakerLine is how often the log says that a breaker is open.
const breakerLine = time.Minute

// breaker is the breaker of one partition. Its lanes share it.
type breaker struct {
	policy consume.BreakerPolicy

	mu       sync.Mutex
	failures int        // records in a row
	opened   time.Time  // zero while it is closed
	told     time.Time  // the last line in the log
	pause    standstill // while it is open; its hooks are called with mu, so that the one lane's End follows the other's Begin
}

// fail counts a record and reports whether the breaker is open.
func (b *breaker) fail(ctx context.Context, now time.Time, w *worker, why consume.PauseBegin) (open bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures++
	if b.opened.IsZero() && b.policy.Failures != idem.Unlimited && b.failures >= b.policy.Failures {
		b.opened = now
		b.pause.begin(ctx, w, why)
	}

	return !b.opened.IsZero()
}

// giveUp ends the pause of a breaker that is open, because this owner has lost the partition.
func (b *breaker) giveUp() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pause.end(false)
}

// succeed records that a record took effect. If that has closed the breaker, it returns how long it
// was open, else 0.
func (b *breaker) succeed(now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	var open time.Duration
	if !b.opened.IsZero() {
		open = max(now.Sub(b.opened), 1)
	}
	b.pause.end(true)
	b.failures, b.opened, b.told = 0, time.Time{}, time.Time{}

	return open
}

func (b *breaker) isOpen() bool {
	b.mu.Lock()
	defer b.mu.Unlock()

	return !b.opened.IsZero()
}

// tells reports whether a log line is due, and what it says.
func (b *breaker) tells(now time.Time) (due bool, failures int, open time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.opened.IsZero() || now.Sub(b.told) < breakerLine {
		return false, 0, 0
	}
	b.told = now

	return true, b.failures, now.Sub(b.opened)
}

// tryAgain judges an attempt that failed through the handler. It returns how long to wait before the
// next one; again is false if there is none, because the record has failed.
func (w *worker) tryAgain(ctx context.Context, a *attempts, m consume.Message, took time.Duration, err error) (pause time.Duration, again bool) {
	pause, again = a.again(took)
	if !again {
		again = w.hold(ctx, a, m, err)
	}
	if !again {
		return 0, false
	}
	w.tell(ctx, m.Offset, consume.Event{Kind: consume.EventRetry, Duration: pause, Err: err})
	if !a.held {
		w.log.WarnContext(ctx, "consume: record not processed, trying again", append(firstStack(a, err),
			"offset", m.Offset, "event_id", m.EventID, "attempt", m.Attempt, "pause", pause, "error", err)...)
	}

	return pause, true
}

// firstStack are details for the log: the stack of the first attempt's panic.
func firstStack(a *attempts, err error) []any {
	if stack := stackOf(err); stack != "" && a.failed == 1 {
		return []any{"stack", stack}
	}

	return nil
}

// hold reports whether the breaker is open and holds a record that has used up its attempts.
func (w *worker) hold(ctx context.Context, a *attempts, m consume.Message, err error) bool {
	if w.config.Failure.Policy != consume.StoreDeadLetter {
		return false
	}
	now := time.Now()
	switch {
	case a.held && !w.breaker.isOpen(): // Another lane has closed it.
		*a = attempts{policy: a.policy, began: w.engine.gate.clock(), failed: 1}

		return true
	case a.held && w.engine.gate.clock().Sub(a.began) >= w.config.Failure.Breaker.Patience:
		return false
	case !a.held:
		if a.held = w.breaker.fail(ctx, now, w, w.stands(consume.PauseBreaker, m.Offset, err)); !a.held {
			return false
		}
	}
	if due, failures, open := w.breaker.tells(now); due {
		w.log.ErrorContext(ctx, "consume: records fail one after the other, the partition waits",
			"failures", failures, "open", open, "offset", m.Offset, "event_id", m.EventID, "attempt", m.Attempt, "error", err)
	}

	return true
}

// closeBreaker notes that a record took effect.
func (w *worker) closeBreaker(offset int64) {
	if open := w.breaker.succeed(time.Now()); open > 0 {
		w.log.Info("consume: records take effect again, the partition goes on", "offset", offset, "open", open)
	}
}

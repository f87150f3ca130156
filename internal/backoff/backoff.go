// Package backoff spaces out repeated tries.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Random returns a number from zero up to, not including, n: the jitter of all pauses. Only a simulation, whose
// times must follow from a seed, sets another.
var Random = rand.Int64N //nolint:gochecknoglobals // See above.

// Exponential grows from Initial to Max by factors of two. The pauses are random between zero
// and that: the "full jitter" of Marc Brooker, "Exponential Backoff And Jitter", AWS
// Architecture Blog, 2015.
type Exponential struct {
	Initial, Max time.Duration
}

// Pause is how long to wait after the given number of failed tries, counted from 1.
func (e Exponential) Pause(failed int) time.Duration {
	return time.Duration(Random(int64(max(e.limit(failed), 1))))
}

// LongPause has less jitter: it is at least seven eighths of what Pause can be. It is for pauses
// whose sum has to ride something out.
func (e Exponential) LongPause(failed int) time.Duration {
	limit := e.limit(failed)

	return limit - time.Duration(Random(int64(limit/8+1)))
}

func (e Exponential) limit(failed int) time.Duration {
	if shift := max(0, min(failed-1, 62)); e.Initial <= e.Max>>shift {
		return e.Initial << shift
	}

	return e.Max
}

// Sleep waits for d and reports whether ctx is still alive then.
func Sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Outlive returns a context that ends only d after ctx does.
func Outlive(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		Sleep(longer, d)
		cancel()
	})

	return longer, func() {
		stop()
		cancel()
	}
}

// Package backoff spaces out repeated tries.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Exponential grows from Initial to Max by factors of two. The pauses are random between zero
// and that: the "full jitter" of Marc Brooker, "Exponential Backoff And Jitter", AWS
// Architecture Blog, 2015.
type Exponential struct {
	Initial, Max time.Duration
}

// Pause is how long to wait after the given number of failed tries, counted from 1.
func (e Exponential) Pause(failed int) time.Duration {
	limit := e.Max
	if shift := max(0, min(failed-1, 62)); e.Initial <= limit>>shift {
		limit = e.Initial << shift
	}

	return rand.N(max(limit, 1)) //nolint:gosec // Jitter needs no secrecy.
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

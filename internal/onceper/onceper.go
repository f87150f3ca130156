// Package onceper limits how often something is told.
package onceper

import (
	"sync/atomic"
	"time"
)

// Limit limits how often something is told. The zero value is ready for use.
type Limit struct{ last atomic.Pointer[time.Time] }

// Due reports whether the last time it did so is at least d ago.
func (l *Limit) Due(d time.Duration) bool {
	now := time.Now()
	last := l.last.Load()

	return (last == nil || now.Sub(*last) >= d) && l.last.CompareAndSwap(last, &now)
}

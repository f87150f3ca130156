package kafkaadapter

import (
	"sync/atomic"
	"time"
)

// oncePer limits how often something is told. The zero value is ready for use.
type oncePer struct{ last atomic.Pointer[time.Time] }

// due reports whether the last time it did so is at least d ago.
func (o *oncePer) due(d time.Duration) bool {
	now := time.Now()
	last := o.last.Load()

	return (last == nil || now.Sub(*last) >= d) && o.last.CompareAndSwap(last, &now)
}

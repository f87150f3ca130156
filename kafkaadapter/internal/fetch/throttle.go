package fetch

import (
	"sync"
	"time"
)

// Quota remembers which brokers have told a client to wait (KIP-219). Such a broker answers at
// once and then reads nothing from the connection until the time has passed: a request sent
// earlier only seems to hang. All partitions of a client share one Quota, because quotas are
// kept by client and user, and connections are shared.
//
// The zero value is ready for use. A nil *Quota never waits.
type Quota struct {
	mu    sync.Mutex
	until map[int32]time.Time // by broker
}

// throttle notes that a broker is to be left alone for d.
func (q *Quota) throttle(broker int32, d time.Duration) {
	if q == nil || d <= 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.until == nil {
		q.until = make(map[int32]time.Time)
	}
	if until := time.Now().Add(d); until.After(q.until[broker]) {
		q.until[broker] = until
	}
}

// left is how long a broker is still to be left alone.
func (q *Quota) left(broker int32) time.Duration {
	if q == nil {
		return 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()

	return time.Until(q.until[broker])
}

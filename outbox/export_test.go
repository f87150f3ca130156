package outbox

import (
	"math"
	"time"
)

// NeverLookBack has a relay trust its cursor, so that tests see what it misses.
func (r *Relay) NeverLookBack() { r.lookBack = math.MaxInt64 }

// LookBack has a relay read the whole table again after some time.
func (r *Relay) LookBack(after time.Duration) { r.lookBack = after }

// Silence is for how long the relay waits for the answer to a statement.
func (r *Relay) Silence(d time.Duration) { r.silence = d }

// LockKey is that of the lock for which relays wait.
func (r *Relay) LockKey() int64 { return r.lockKey }

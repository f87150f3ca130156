package outbox

import (
	"math"
	"time"
)

// NeverLookBack has a relay trust its cursor, so that tests see what it misses.
func (r *Relay) NeverLookBack() { r.lookBack = math.MaxInt64 }

// LookBack has a relay read the whole table again after some time.
func (r *Relay) LookBack(after time.Duration) { r.lookBack = after }

package consume

import (
	"cmp"
	"fmt"
	"time"

	"github.com/nova-events/idempotent-consumer/idem"
)

// BreakerPolicy keeps an outage from making a dead letter of each record. A partition has a breaker, which
// counts the records in a row that have used up their attempts (RetryPolicy) while none took effect. When it
// has counted Failures, it opens. The last of them is held: it is not stored as a dead letter but tried again,
// after pauses that grow to RetryPolicy.LongestPause. These attempts are probes. The partition waits. The
// breaker closes as soon as a record takes effect, and the count begins anew.
//
// A record is held no longer than Patience. Then it is stored as a dead letter after all and the next
// record is the probe, so that a run of bad records does not stop its partition for ever. Return
// Permanent for what is the record's own fault: such records, records without an event id, and
// duplicates neither count nor close the breaker.
//
// With HandleBatch the breaker counts the records that were found to be at fault and tried alone. The
// lanes of a partition share its breaker: each holds its own record, and when one of them succeeds the
// others get all their attempts again. A new owner of the partition begins with a closed breaker.
//
// A pause of the kind PauseBreaker (Hooks.Pause) lasts as long as the breaker is open, with one log line a
// minute. Zero fields have their defaults. The breaker works with the Policy StoreDeadLetter only.
type BreakerPolicy struct {
	// Failures is how many records in a row open the breaker. Default 10: an outage makes 9 dead
	// letters of a partition at most, as long as it is shorter than Patience. With idem.Unlimited there
	// is no breaker.
	Failures int

	// Patience is how long a record is held, from its first attempt. Default 15 minutes.
	Patience time.Duration
}

func (p BreakerPolicy) withDefaults() BreakerPolicy {
	p.Failures = cmp.Or(p.Failures, 10)
	p.Patience = cmp.Or(p.Patience, 15*time.Minute)

	return p
}

func (p BreakerPolicy) validate() error {
	if p.Failures < idem.Unlimited || p.Patience < 0 {
		return fmt.Errorf("%w: Breaker has the Failures %d and the Patience %v; use positive values, or idem.Unlimited Failures for no breaker",
			ErrInvalidConfig, p.Failures, p.Patience)
	}

	return nil
}

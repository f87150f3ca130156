package engine

import (
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
)

// replayAttempts is how often a replay may fail before an operator has to decide again. The records of
// the partition wait for it.
func replayAttempts(p consume.RetryPolicy) int {
	const most = 3
	if p.MaxAttempts == idem.Unlimited {
		return most
	}

	return min(most, p.MaxAttempts)
}

// attempts counts the attempts for one record.
type attempts struct {
	policy consume.RetryPolicy
	began  time.Time // by gate.clock
	failed int
	spent  time.Duration // in attempts that failed, and pauses after them
	held   bool          // by the breaker
}

// again counts an attempt that failed after that time, and returns the pause before the next one.
// left is false if the policy allows none.
func (a *attempts) again(took time.Duration) (pause time.Duration, left bool) {
	a.failed++
	a.spent += took
	pause = backoff.Exponential{Initial: a.policy.FirstPause, Max: a.policy.LongestPause}.LongPause(a.failed)
	left = a.policy.MaxAttempts == idem.Unlimited || a.failed < a.policy.MaxAttempts
	if a.policy.LongestTotal > 0 && a.spent+pause > a.policy.LongestTotal {
		left = false
	}
	a.spent += pause

	return pause, left
}

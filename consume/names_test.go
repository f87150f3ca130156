package consume_test

import (
	"fmt"
	"testing"

	"github.com/nova-events/idempotent-consumer/consume"
)

func TestNames(t *testing.T) {
	t.Parallel()
	for want, value := range map[string]fmt.Stringer{
		"retry": consume.EventRetry, "former owner": consume.PauseFormerOwner, "breaker": consume.PauseBreaker, "dead letter": consume.EventDeadLetter, "pool wait": consume.EventPoolWait, "none": consume.EventKind(0), "99": consume.EventKind(99),
		"ByCheckpoint": consume.ByCheckpoint, "FromLatest": consume.FromLatest, "StopOnFailure": consume.StopOnFailure, "SkipToLatest": consume.SkipToLatest,
		"FailOnRewind": consume.FailOnRewind, "SkipUnreadable": consume.SkipUnreadable, "IgnoreCollision": consume.IgnoreCollision, "3": consume.Mode(3),
	} {
		if got := value.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

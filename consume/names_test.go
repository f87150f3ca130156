package consume_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
)

func TestNames(t *testing.T) {
	t.Parallel()
	for want, value := range map[string]fmt.Stringer{
		"retry": consume.EventRetry, "former owner": consume.PauseFormerOwner, "breaker": consume.PauseBreaker, "dead letter": consume.EventDeadLetter, "pool wait": consume.EventPoolWait, "none": consume.EventKind(0), "99": consume.EventKind(99),
		"ByCheckpoint": consume.ByCheckpoint, "FromEarliest": consume.Start(0), "FromLatest": consume.FromLatest, "StartAt 2026-11-26T10:15:00.5Z": consume.StartAt(time.Date(2026, 11, 26, 10, 15, 0, 5e8, time.UTC)), "StopOnFailure": consume.StopOnFailure, "SkipToLatest": consume.SkipToLatest,
		"FailOnRewind": consume.FailOnRewind, "SkipUnreadable": consume.SkipUnreadable, "IgnoreCollision": consume.IgnoreCollision, "3": consume.Mode(3),
	} {
		if got := value.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

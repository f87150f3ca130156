package engine

import (
	"testing"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
)

// Only a record that takes effect says that others can: a duplicate says nothing of what the handler needs.
func TestDuplicatesDoNotCloseTheBreaker(t *testing.T) {
	t.Parallel()
	_, w := newPausable(consume.Hooks{})
	w.suspect.lifted, w.done = true, func(int64) {}
	for outcome, open := range map[idem.Outcome]bool{idem.AlreadyProcessed: true, idem.Processed: false} {
		w.breaker.opened = time.Now()
		if err := w.settleOne(t.Context(), consume.Message{}, outcome, 0); err != nil || w.breaker.isOpen() != open {
			t.Errorf("%v: open %v, %v", outcome, w.breaker.isOpen(), err)
		}
	}
}

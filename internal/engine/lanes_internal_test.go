package engine

import (
	"testing"

	"github.com/nova-events/idempotent-consumer/consume"
)

// What lanes have in work is bounded by its number and by its bytes; a record larger than that is let in alone.
func TestLanesLimitWhatIsInWork(t *testing.T) {
	t.Parallel()
	record := func(bytes int) *inFlight { return &inFlight{bytes: bytes} }
	l := &lanes{
		config: &consume.Config{Lanes: consume.LanesConfig{LookAhead: 3}, Batch: consume.BatchConfig{Bytes: 10}},
		room:   make(chan struct{}, 1), done: func(int64) {},
	}
	large := record(11)
	if !l.enter(large) || l.enter(record(0)) {
		t.Error("a record that is larger than all may be is not let in, or not alone")
	}
	l.complete(large)
	for i, bytes := range []int{4, 6, 0} {
		if !l.enter(record(bytes)) {
			t.Errorf("record %d is not let in", i)
		}
	}
	if l.enter(record(0)) {
		t.Error("a fourth record is let in")
	}
	l.complete(l.window[0])
	if l.enter(record(5)) || !l.enter(record(4)) {
		t.Error("11 bytes are let in, or 10 are not")
	}
}

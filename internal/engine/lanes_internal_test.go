package engine

import (
	"context"
	"sync"
	"testing"
	"time"

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

// A lane that was at work when the partition was revoked used records of a batch that had been released, if the batch had not been dispatched as a
// whole.
func TestBatchIsReleasedBehindItsRecords(t *testing.T) {
	t.Parallel()
	for name, lookAhead := range map[string]int{"a part of it": 1, "as a whole": 2} {
		revoked, revoke := context.WithCancel(t.Context())
		_, w := newPausable(consume.Hooks{})
		w.config.Lanes.LookAhead = lookAhead
		w.suspect.lifted = true
		w.settling = time.NewTicker(time.Hour)
		w.lanes = &lanes{
			config: w.config, queues: []chan *inFlight{make(chan *inFlight, 2)}, room: make(chan struct{}, 1), done: func(int64) {},
			lost: revoked, cancel: revoke, settling: w.settling,
		}
		released, working := make(chan struct{}), make(chan struct{})
		w.lanes.running.Go(func() {
			for f := range w.lanes.queues[0] {
				revoke()
				<-working
				w.lanes.complete(f)
			}
		})
		batch := fetched{Batch: &Batch{Records: []consume.Record{{Offset: 0}, {Offset: 1}}, Next: 2, Release: sync.OnceFunc(func() { close(released) })}, note: noNote}
		if err := w.processAll(revoked, t.Context(), batch); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		select {
		case <-released:
			t.Errorf("%s: released while a lane is at work", name)
		default:
		}
		close(working)
		w.lanes.finish()
		select {
		case <-released:
		default:
			t.Errorf("%s: not released when the lanes have finished", name)
		}
	}
}

package engine

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
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

// newFailing returns how a record does whose handler fails each second, with a breaker that opens at the second record.
func newFailing(t *testing.T) (w *worker, log *bytes.Buffer, fail func(limit time.Duration) (a attempts, lasted time.Duration)) {
	t.Helper()
	w, log = newLogged(consume.Hooks{})
	w.config.Failure = consume.FailureConfig{
		Policy:  consume.StoreDeadLetter,
		Retry:   consume.RetryPolicy{MaxAttempts: 3, FirstPause: time.Second, LongestPause: time.Second},
		Breaker: consume.BreakerPolicy{Failures: 2, Patience: 10 * time.Minute},
	}
	w.breaker.policy = w.config.Failure.Breaker

	return w, log, func(limit time.Duration) (attempts, time.Duration) {
		began := time.Now()
		a := attempts{policy: w.config.Failure.Retry, began: w.engine.gate.clock()}
		for time.Since(began) < limit {
			pause, again := w.tryAgain(t.Context(), &a, consume.Message{}, 0, consume.NewPanicError("poison"))
			if !again {
				break
			}
			time.Sleep(pause) //nolint:forbidigo // Of synctest's clock.
		}

		return a, time.Since(began)
	}
}

// A breaker that is open says so once a minute, and holds a record for its patience, from the first attempt.
func TestBreakerHoldsForItsPatience(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, log, fail := newFailing(t)
		if _, lasted := fail(time.Hour); lasted > 5*time.Second || w.breaker.isOpen() {
			t.Errorf("the first record was tried for %v, open: %t", lasted, w.breaker.isOpen())
		}
		log.Reset()
		_, lasted := fail(time.Hour)
		said := log.String()
		if lasted < 10*time.Minute || lasted > 10*time.Minute+5*time.Second {
			t.Errorf("the second was held for %v", lasted)
		}
		if lines := strings.Count(said, `records fail one after the other, the partition waits" failures=2 `); lines < 9 || lines > 11 {
			t.Errorf("%d lines in ten minutes:\n%s", lines, said)
		}
		if lines := strings.Count(said, "record not processed"); lines != 2 {
			t.Errorf("%d lines about attempts:\n%s", lines, said)
		}
		if lines := strings.Count(said, "stack="); lines != 1 {
			t.Errorf("%d stacks:\n%s", lines, said)
		}
		log.Reset()
		w.closeBreaker(7)
		w.closeBreaker(8)
		if said := log.String(); strings.Count(said, "\n") != 1 || !strings.Contains(said, `the partition goes on" offset=7 open=9m5`) {
			t.Errorf("it said:\n%s", said)
		}
	})
}

// A record that has failed for longer than the breaker's patience opens it nevertheless.
func TestSlowFailuresOpenTheBreaker(t *testing.T) {
	t.Parallel()
	_, w := newPausable(consume.Hooks{})
	w.config.Failure = consume.FailureConfig{Policy: consume.StoreDeadLetter, Breaker: consume.BreakerPolicy{Failures: 1, Patience: time.Minute}}
	w.breaker.policy = w.config.Failure.Breaker
	a := attempts{began: time.Now().Add(-time.Hour)}
	if !w.hold(t.Context(), &a, consume.Message{}, errors.New("poison")) || !w.breaker.isOpen() {
		t.Error("the breaker is not open")
	}
	if w.hold(t.Context(), &a, consume.Message{}, errors.New("poison")) {
		t.Error("the record is held for longer than the patience")
	}
}

// A record that was held when another lane closed the breaker has its attempts again, but for the one that it has just used up.
func TestHeldRecordHasItsAttemptsAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, _, fail := newFailing(t)
		fail(time.Hour)
		a, _ := fail(5 * time.Minute)
		w.closeBreaker(7)
		for failed := 1; ; failed++ {
			if _, again := w.tryAgain(t.Context(), &a, consume.Message{}, 0, errors.New("poison")); !again || failed > 5 {
				if failed != 3 || w.breaker.isOpen() {
					t.Errorf("it had %d attempts, the breaker is open: %t", failed, w.breaker.isOpen())
				}

				return
			}
		}
	})
}

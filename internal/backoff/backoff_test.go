package backoff

import (
	"context"
	"testing"
	"time"
)

func TestPauseIsFullJitter(t *testing.T) {
	t.Parallel()
	for _, e := range []Exponential{
		{1, 1}, {1, time.Hour}, {time.Hour, time.Hour}, {1<<62 - 1, 1<<63 - 1},
		{3 * time.Millisecond, 100 * time.Millisecond}, {50 * time.Millisecond, 5 * time.Second},
	} {
		for _, failed := range []int{1, 2, 3, 5, 10, 40, 63, 64, 65, 1000, 1 << 40} {
			limit := e.Max
			if failed < 62 {
				if exact := e.Initial << (failed - 1); exact>>(failed-1) == e.Initial && exact > 0 {
					limit = min(limit, exact)
				}
			}
			var low, high int
			for range 200 {
				pause := e.Pause(failed)
				if pause < 0 || pause >= limit {
					t.Fatalf("%+v: pause after %d failures is %v, want less than %v", e, failed, pause, limit)
				}
				if pause < limit/2 {
					low++
				} else {
					high++
				}
			}
			// The chance that 200 fall into one half is 2^-199.
			if limit > 1000 && (low == 0 || high == 0) {
				t.Errorf("%+v: the pauses after %d failures do not spread from 0 to %v", e, failed, limit)
			}
		}
	}
}

func TestLongPauseIsNearItsLimit(t *testing.T) {
	t.Parallel()
	e := Exponential{Initial: time.Second, Max: 5 * time.Second}
	for failed, limit := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 4: 5 * time.Second, 99: 5 * time.Second} {
		least, most := time.Hour, time.Duration(0)
		for range 200 {
			pause := e.LongPause(failed)
			least, most = min(least, pause), max(most, pause)
		}
		if least < limit*7/8 || most > limit || most-least < limit/16 {
			t.Errorf("after %d failures the pauses are %v to %v, want seven eighths of %v and more", failed, least, most, limit)
		}
	}
}

func TestLongPauseOfNanoseconds(t *testing.T) {
	t.Parallel()
	if pause := (Exponential{Initial: 1, Max: 1}).LongPause(1); pause != 1 {
		t.Errorf("the pause is %d ns", pause)
	}
}

func TestSleepEndsWithTheContext(t *testing.T) {
	t.Parallel()
	if !Sleep(t.Context(), time.Microsecond) {
		t.Error("a context that is alive was said to have ended")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if Sleep(ctx, time.Hour) {
		t.Error("a context that has ended was said to be alive")
	}
}

func TestContextOutlives(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	longer, stop := Outlive(ctx, time.Hour)
	cancel()
	if longer.Err() != nil {
		t.Error("it ended with the other")
	}
	stop()
	if longer.Err() == nil {
		t.Error("it did not stop")
	}

	shorter, stop := Outlive(ctx, time.Microsecond)
	defer stop()
	<-shorter.Done()
}

// Else each would stay with a context that lives as long as the process.
func TestOutliveLeavesNothingWithTheContext(t *testing.T) {
	t.Parallel()
	ctx := &watched{Context: t.Context(), done: make(chan struct{})}
	_, stop := Outlive(ctx, time.Hour)
	stop()
	if ctx.waiting != 0 {
		t.Error("it still waits for the end of the context")
	}
}

// watched counts who waits for its end.
type watched struct {
	context.Context //nolint:containedctx // It is a context.

	done    chan struct{}
	waiting int
}

func (w *watched) Done() <-chan struct{} { return w.done }

func (w *watched) AfterFunc(func()) func() bool {
	w.waiting++

	return func() bool {
		w.waiting--

		return true
	}
}

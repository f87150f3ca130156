package engine

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
)

// With the defaults a record whose attempts fail at once is tried for more than a minute.
func TestDefaultRetriesRideOutAMinute(t *testing.T) {
	t.Parallel()
	least, most := time.Hour, time.Duration(0)
	for range 1000 {
		a := attempts{policy: complete(t, consume.RetryPolicy{})}
		total := time.Duration(0)
		for pause, left := a.again(0); left; pause, left = a.again(0) {
			total += pause
		}
		least, most = min(least, total), max(most, total)
	}
	if least < time.Minute || most > 75*time.Second {
		t.Errorf("they last from %v to %v, want at least a minute and at most a quarter more", least, most)
	}
}

func TestAttemptsEnd(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		policy consume.RetryPolicy
		took   time.Duration
		want   int // attempts
	}{
		"number":              {consume.RetryPolicy{MaxAttempts: 3}, 0, 3},
		"one":                 {consume.RetryPolicy{MaxAttempts: 1}, 0, 1},
		"time of attempts":    {consume.RetryPolicy{MaxAttempts: idem.Unlimited, LongestTotal: time.Minute, FirstPause: 1, LongestPause: 1}, 11 * time.Second, 6},
		"time of pauses":      {consume.RetryPolicy{MaxAttempts: idem.Unlimited, LongestTotal: 100 * time.Second, FirstPause: 10 * time.Second, LongestPause: 10 * time.Second}, 3 * time.Second, 9},
		"whichever is sooner": {consume.RetryPolicy{MaxAttempts: 2, LongestTotal: time.Hour}, 0, 2},
	} {
		a := attempts{policy: complete(t, test.policy)}
		n := 1
		for _, left := a.again(test.took); left; _, left = a.again(test.took) {
			n++
		}
		if slack := test.want / 4; n < test.want-slack || n > test.want+slack {
			t.Errorf("%s: %d attempts, want about %d", name, n, test.want)
		}
	}
}

// The breaker opens at the n-th record in a row, tells once a minute, and a success closes it.
func TestBreaker(t *testing.T) {
	t.Parallel()
	var began, ended int
	w := &worker{condition: newCondition(), config: &consume.Config{Hooks: consume.Hooks{Pause: idem.Hook[consume.PauseBegin, consume.PauseEnd]{
		Begin: func(ctx context.Context, _ consume.PauseBegin) context.Context {
			began++

			return ctx
		},
		End: func(context.Context, consume.PauseBegin, consume.PauseEnd) { ended++ },
	}}}}
	b := breaker{policy: consume.BreakerPolicy{Failures: 3}}
	now := time.Now()
	for i, want := range []struct {
		open  bool
		began int
	}{{false, 0}, {false, 0}, {true, 1}, {true, 1}} {
		if open := b.fail(t.Context(), now, w, consume.PauseBegin{}); open != want.open || began != want.began {
			t.Errorf("record %d: open %t, %d pauses", i+1, open, began)
		}
	}
	for second, want := range map[int]bool{0: true, 59: false, 60: true} {
		b.told = now.Add(-time.Hour)
		if second > 0 {
			b.told = now
		}
		if due, failures, _ := b.tells(now.Add(time.Duration(second) * time.Second)); due != want || due && failures != 4 {
			t.Errorf("after %d s a line is due: %t, %d failures", second, due, failures)
		}
	}
	if open := b.succeed(now.Add(time.Hour)); open != time.Hour || b.isOpen() || ended != 1 {
		t.Errorf("it was open for %v, and is still: %t; %d pauses have ended", open, b.isOpen(), ended)
	}
	if open := b.fail(t.Context(), now, w, consume.PauseBegin{}); open || b.succeed(now) != 0 {
		t.Error("one more failure opened it again")
	}
}

// complete returns a policy with its defaults.
func complete(t *testing.T, policy consume.RetryPolicy) consume.RetryPolicy {
	t.Helper()
	handle := func(context.Context, pgx.Tx, consume.Message) error { return nil }
	config, err := consume.Config{Handle: handle, DrainTimeout: time.Second, Failure: consume.FailureConfig{Retry: policy}}.Complete(false)
	if err != nil {
		t.Fatal(err)
	}

	return config.Failure.Retry
}

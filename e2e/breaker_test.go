package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/idem"
)

var errUnavailable = errors.New("503 Service Unavailable")

// service is another system that the handler needs.
type service struct {
	down  atomic.Bool
	calls atomic.Int64
}

func (s *service) handle(ctx context.Context, tx pgx.Tx, m consume.Message) error {
	s.calls.Add(1)
	if s.down.Load() {
		return errUnavailable
	}

	return record(ctx, tx, m)
}

// counter counts what is tried again, and pauses.
type counter struct {
	mu           sync.Mutex
	retried      int
	began, ended map[consume.PauseKind]int
}

func (c *counter) watch(s *settings) {
	c.began, c.ended = map[consume.PauseKind]int{}, map[consume.PauseKind]int{}
	s.Hooks.Event = func(_ context.Context, e consume.Event) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if e.Kind == consume.EventRetry {
			c.retried++
		}
	}
	s.Hooks.Pause.Begin = func(ctx context.Context, why consume.PauseBegin) context.Context {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.began[why.Kind]++

		return ctx
	}
	s.Hooks.Pause.End = func(_ context.Context, why consume.PauseBegin, end consume.PauseEnd) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if end.GoesOn {
			c.ended[why.Kind]++
		}
	}
}

// pauses returns how many of a kind began, and how many of them ended because the partition went on.
func (c *counter) pauses(kind consume.PauseKind) (began, ended int) {
	c.mu.Lock()
	defer c.mu.Unlock()

	return c.began[kind], c.ended[kind]
}

// Another service is away for five seconds: no record of the four partitions becomes a dead letter.
func TestOutageOfAnotherServiceMakesNoDeadLetters(t *testing.T) {
	t.Parallel()
	b := broker.InProcess(t)
	for name, use := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, b, 4)
			b.Write(t, s.topic, events(0, 200, 4)...)
			var other service
			other.down.Store(true)
			m := s.start(t, func(c *settings) { use(c, other.handle) })
			until(t, "the service to be called", func() bool { return other.calls.Load() > 0 })
			letPass(5 * time.Second)
			other.down.Store(false)
			s.awaitCommitted(t, 200)
			m.leave(t)
			s.verifyOnce(t, 200)
			if got := s.letters(t); len(got) > 0 {
				t.Errorf("%d dead letters: %q", len(got), got)
			}
		})
	}
}

// What the handler calls transient uses no attempts, and nobody looks for a record at fault. A batch is made smaller, so that records
// before the failing one go on in between.
func TestTransientErrorOfTheHandler(t *testing.T) {
	t.Parallel()
	b := broker.InProcess(t)
	for name, use := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, b, 1)
			b.Write(t, s.topic, events(0, 20, 1)...)
			var failures atomic.Int64
			var seen counter
			m := s.start(t, func(c *settings) {
				c.Failure.Retry.MaxAttempts = 1
				seen.watch(c)
				use(c, func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
					if m.Attempt != 1 {
						t.Errorf("attempt %d", m.Attempt)
					}
					if m.Offset == 7 && failures.Add(1) <= 3 {
						return fmt.Errorf("call the service: %w", consume.Transient(errUnavailable))
					}

					return record(ctx, tx, m)
				})
			})
			s.awaitCommitted(t, 20)
			m.leave(t)
			s.verifyOnce(t, 20)
			want := 1
			if name == "batch" {
				want = 2
			}
			if began, ended := seen.pauses(consume.PauseTransient); seen.retried > 0 || began != want || ended != want || failures.Load() != 4 {
				t.Errorf("%d attempts failed, %d pauses, %d ends of one, %d calls for the record; want 0, %d, %d and 4", seen.retried, began, ended, failures.Load(), want, want)
			}
			if got := s.letters(t); len(got) > 0 {
				t.Errorf("letters %q", got)
			}
		})
	}
}

// breaking configures quick attempts and a breaker that opens at the third record.
func breaking(c *settings) {
	c.Failure.Retry = consume.RetryPolicy{MaxAttempts: 2, FirstPause: time.Millisecond, LongestPause: 10 * time.Millisecond}
	c.Failure.Breaker.Failures = 3
	c.SessionTimeout = 30 * time.Second // A new owner would count anew.
}

// A service is away for longer than the attempts last: after a few dead letters the partition waits
// and probes, and goes on when the service is back.
func TestBreakerKeepsAnOutageFromFillingDeadLetters(t *testing.T) {
	t.Parallel()
	b := broker.InProcess(t)
	for name, use := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, b, 1)
			b.Write(t, s.topic, events(0, 50, 1)...)
			var other service
			var seen counter
			other.down.Store(true)
			m := s.start(t, func(c *settings) {
				breaking(c)
				use(c, other.handle)
				seen.watch(c)
			})
			until(t, "the breaker to open", func() bool {
				opened, _ := seen.pauses(consume.PauseBreaker)

				return opened == 1
			})
			calls := other.calls.Load()
			until(t, "probes", func() bool { return other.calls.Load() > calls+50 })
			if got := s.letters(t); len(got) != 2 {
				t.Errorf("%d dead letters, want those of the first two records: %q", len(got), got)
			}
			other.down.Store(false)
			s.awaitCommitted(t, 50)
			m.leave(t)
			s.verifyOnce(t, 48)
			if got := s.letters(t); len(got) != 2 {
				t.Errorf("%d dead letters, want 2: %q", len(got), got)
			}
			if opened, closed := seen.pauses(consume.PauseBreaker); opened != 1 || closed != 1 {
				t.Errorf("the breaker opened %d times and closed %d times", opened, closed)
			}
		})
	}
}

// A run of bad records, longer than the breaker allows, ends in dead letters: each is held for a
// while, and the good ones behind them are processed.
func TestRunOfBadRecordsPassesTheBreaker(t *testing.T) {
	t.Parallel()
	b := broker.InProcess(t)
	for name, test := range map[string]struct {
		poison   string
		failures int
		opened   int
	}{
		"held":      {"poison", 3, 1},
		"permanent": {"poison for ever", 3, 0},
		"off":       {"poison", idem.Unlimited, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for name, use := range ways {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					s := setup(t, b, 1)
					records := events(0, 40, 1)
					for i := 10; i < 18; i++ {
						records[i].Value = []byte(test.poison)
					}
					for i := range records {
						records[i].Key = []byte("one lane") // So that no good record is among the bad ones.
					}
					b.Write(t, s.topic, records...)
					var seen counter
					began := time.Now()
					m := s.start(t, func(c *settings) {
						breaking(c)
						use(c, (&refuser{}).handle)
						c.Failure.Breaker.Failures, c.Failure.Breaker.Patience = test.failures, 200*time.Millisecond
						seen.watch(c)
					})
					s.awaitCommitted(t, 40)
					took := time.Since(began)
					m.leave(t)
					s.verifyOnce(t, 32)
					if got := s.letters(t); len(got) != 8 || !strings.HasPrefix(got[7], "17 open") {
						t.Errorf("dead letters %q", got)
					}
					if opened, closed := seen.pauses(consume.PauseBreaker); opened != test.opened || closed != test.opened {
						t.Errorf("the breaker opened %d times and closed %d times, want %d", opened, closed, test.opened)
					}
					if held := 6 * 200 * time.Millisecond; test.opened > 0 && took < held {
						t.Errorf("it took %v, want six records held for %v", took, held)
					}
				})
			}
		})
	}
}

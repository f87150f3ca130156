package e2e_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/idem"
)

// ways are the ways in which a handler can be used: for single records, in transactions of their own and in shared ones, for batches, and in lanes.
var ways = map[string]func(*settings, consume.Handler){
	"single": func(c *settings, h consume.Handler) { c.Handle, c.OwnTransactions = h, true },
	"shared": func(c *settings, h consume.Handler) { c.Handle = h },
	"batch":  func(c *settings, h consume.Handler) { c.Handle, c.HandleBatch = nil, eachOf(h) },
	"lanes":  func(c *settings, h consume.Handler) { inLanes(2, h)(c) },
}

// letterErrors returns why the dead letters were stored.
func (s *bench) letterErrors(t *testing.T) []string {
	t.Helper()
	rows, err := s.pool.Query(t.Context(), `SELECT error FROM idem.dead_letters ORDER BY record_offset`)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}

	return all
}

// dereferenceNil is what a handler does that panics.
func dereferenceNil(m *consume.Message) string { return m.Topic }

// A handler that panics has failed: the record becomes a dead letter with the stack, and the others go
// on. The process used to die, once for each of the owners that began with the record.
func TestHandlerThatPanics(t *testing.T) {
	t.Parallel()
	b := broker.InProcess(t)
	for name, use := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, b, 1)
			s.create(t, s.topic+"-dlt", 1)
			b.Write(t, s.topic, events(0, 20, 1)...)
			var failure atomic.Value
			m := s.start(t, func(c *settings) {
				c.Failure.Retry.MaxAttempts, c.Failure.DeadLetterSuffix = 3, "-dlt"
				use(c, func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
					if err := record(ctx, tx, m); err != nil {
						return err
					}
					if m.Offset == 7 {
						_ = dereferenceNil(nil)
					}

					return nil
				})
				c.Hooks.Event = func(_ context.Context, e consume.Event) {
					if e.Kind == consume.EventDeadLetter {
						failure.Store(e.Err)
					}
				}
			})
			s.awaitCommitted(t, 20)
			m.leave(t)
			s.verifyOnce(t, 19)
			if got := s.letters(t); !slices.Equal(got, []string{"7 open 3"}) {
				t.Fatalf("letters %q", got)
			}
			if got := s.letterErrors(t)[0]; !strings.Contains(got, "nil pointer") || !strings.Contains(got, "dereferenceNil") {
				t.Errorf("the dead letter says %q", got)
			}
			err, _ := failure.Load().(error)
			var panicked *consume.PanicError
			var cause runtime.Error
			if !errors.As(err, &panicked) || !strings.HasPrefix(string(panicked.Stack), "panic(") || !errors.As(err, &cause) {
				t.Errorf("the observer was told %v", err)
			}
			var stack string
			for _, h := range b.Log(t, s.topic+"-dlt", 0)[0].Headers {
				if h.Key == "kafka_dlt-exception-stacktrace" {
					stack = string(h.Value)
				}
			}
			if !strings.Contains(stack, "dereferenceNil") {
				t.Errorf("the stack in the topic is %q", stack)
			}
		})
	}
}

// A handler that ends its goroutine, as testing.T.FailNow does, ends Run with an error that names the
// record. The partition used to stand still without a word.
func TestHandlerThatEndsItsGoroutine(t *testing.T) {
	t.Parallel()
	b := broker.InProcess(t)
	for name, use := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, b, 1)
			b.Write(t, s.topic, events(0, 20, 1)...)
			err := s.start(t, func(c *settings) {
				use(c, func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
					if err := record(ctx, tx, m); err != nil {
						return err
					}
					if m.Offset == 7 {
						runtime.Goexit()
					}

					return nil
				})
			}).wait(t)
			var failed *consume.RecordError
			if !errors.Is(err, consume.ErrHandlerExited) || !errors.As(err, &failed) || failed.Offset > 7 {
				t.Errorf("Run returned %v", err)
			}
			m := s.start(t, func(c *settings) { use(c, record) })
			s.awaitCommitted(t, 20)
			m.leave(t)
			s.verifyOnce(t, 20)
		})
	}
}

// Panics of the other functions of Config stop nothing.
func TestHooksThatPanic(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	s.broker.Write(t, s.topic, events(0, 20, 1)...)
	var w watcher
	var h heard
	m := s.start(t, func(c *settings) {
		h.config(c)
		c.OwnTransactions = true
		c.Failure.Retry.MaxAttempts, c.Failure.ReplayInterval = 2, 50*time.Millisecond
		c.EventID = func(record consume.Record) (string, error) {
			if record.Offset == 3 {
				panic("no event id")
			}

			return consume.Header(consume.DefaultEventIDHeader)(record)
		}
		w.panics = true
		w.watch(c)
	})
	s.awaitCommitted(t, 20)
	m.leave(t)
	s.verify(t, 19)
	if got := s.letters(t); !slices.Equal(got, []string{"3 open 0"}) {
		t.Errorf("letters %q", got)
	}
	if got := s.letterErrors(t); !strings.Contains(got[0], "panic: no event id") {
		t.Errorf("they say %q", got)
	}
	w.verify(t)
	for _, hook := range []string{
		"Assignment.Begin", "Assignment.End", "Fetch.Begin", "Fetch.End", "Process.Begin", "Process.End", "Handler.Begin", "Handler.End", "OffsetCommit.Begin", "OffsetCommit.End", "Event",
	} {
		if !h.logged("a hook panicked\" hook=" + hook + " ") {
			t.Errorf("the log does not name %s", hook)
		}
	}
}

// nilError is an error whose methods panic if it is a nil pointer.
type nilError struct{ reason error }

func (e *nilError) Error() string { return e.reason.Error() }
func (e *nilError) Unwrap() error { return e.reason }

// A handler returns a nil pointer as its error, or one that wraps nothing: the record has failed. The process used to die, once for each of
// the owners that began with the record.
func TestErrorsThatPanic(t *testing.T) {
	t.Parallel()
	b := broker.InProcess(t)
	for what, bad := range map[string]error{
		"nil": (*nilError)(nil), "empty": &nilError{}, "nil EventError": (*idem.EventError)(nil), "EventError without a reason": &idem.EventError{},
	} {
		for name, use := range ways {
			t.Run(what+" "+name, func(t *testing.T) {
				t.Parallel()
				s := setup(t, b, 1)
				s.create(t, s.topic+"-dlt", 1)
				b.Write(t, s.topic, events(0, 5, 1)...)
				m := s.start(t, func(c *settings) {
					c.Failure.Retry.MaxAttempts, c.Failure.DeadLetterSuffix = 1, "-dlt"
					use(c, func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
						if m.Offset == 3 {
							return bad
						}

						return record(ctx, tx, m)
					})
				})
				s.awaitCommitted(t, 5)
				m.leave(t)
				s.verifyOnce(t, 4)
				if got := s.letters(t); !slices.Equal(got, []string{"3 open 1"}) {
					t.Errorf("letters %q", got)
				}
			})
		}
	}
}

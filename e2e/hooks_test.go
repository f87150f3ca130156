package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/idem"
)

// Hooks lie within each other as what they watch does, those of the guard within those of the consumer, and
// with them the contexts, up to the handler's, which carries what a hook makes of the record's headers.
func TestHooks(t *testing.T) {
	t.Parallel()
	b := broker.InProcess(t)
	queued := func(c *settings, h consume.Handler) {
		c.Handle = nil
		c.HandleQueue = func(ctx context.Context, queue *pgx.Batch, m consume.Message) error {
			if err := h(ctx, nil, m); err != nil {
				return err
			}

			return enqueue(ctx, queue, m)
		}
	}
	direct := func(use func(*settings, consume.Handler)) func(*settings, consume.Handler) {
		return func(c *settings, h consume.Handler) {
			use(c, func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
				if err := h(ctx, tx, m); err != nil {
					return err
				}

				return record(ctx, tx, m)
			})
		}
	}
	single := []string{"Process/idem.Process", "Process/idem.Process/idem.Claim", "Process/idem.Process/idem.Commit", "Process/idem.Process/idem.Handler", "Process/idem.Process/idem.Handler/Handler"}
	several := []string{"Process/idem.Batch", "Process/idem.Batch/idem.Claim", "Process/idem.Batch/idem.Commit", "Process/idem.Batch/idem.Handler", "Process/idem.Batch/idem.Handler/Handler"}
	for name, way := range map[string]struct {
		use   func(*settings, consume.Handler)
		paths []string
	}{
		"single": {direct(ways["single"]), single},
		"lanes":  {direct(ways["lanes"]), single},
		"shared": {direct(ways["shared"]), append(single, several...)},
		"batch":  {direct(ways["batch"]), append(single, several...)},
		"queue":  {queued, append(single, several...)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, b, 1)
			records := append(events(0, 10, 1), events(0, 1, 1)...)
			records[1].Value = []byte("poison")
			for i := range records {
				records[i].Headers = append(records[i].Headers, kafka.Header{Key: "traceparent", Value: fmt.Append(nil, "trace-", i)})
				records[i].Key = []byte("one lane")
			}
			b.Write(t, s.topic, records...)
			type key struct{}
			var w watcher
			m := s.start(t, func(c *settings) {
				c.Failure.Retry.MaxAttempts = 2
				way.use(c, func(ctx context.Context, _ pgx.Tx, m consume.Message) error {
					got, _ := ctx.Value(key{}).(map[int64]string)
					if got[m.Offset] != fmt.Sprint("trace-", m.Offset) || !strings.HasSuffix(path(ctx), "/idem.Handler/Handler") {
						t.Errorf("the context of record %d carries %v and has passed %s", m.Offset, got, path(ctx))
					}
					if string(m.Value) == "poison" {
						return errPoison
					}
					clear(m.Value) // It is its own.
					clear(m.Headers)

					return nil
				})
				w.watch(c)
				handler := c.Hooks.Handler
				c.Hooks.Handler = idem.Hook[consume.HandlerBegin, consume.HandlerEnd]{
					Begin: func(ctx context.Context, begin consume.HandlerBegin) context.Context {
						traces := map[int64]string{}
						for m := range begin.Messages.All {
							traces[m.Offset] = consume.HeaderCarrier(m.Headers).Get("traceparent")
						}

						return context.WithValue(handler.Begin(ctx, begin), key{}, traces)
					},
					End: func(ctx context.Context, begin consume.HandlerBegin, end consume.HandlerEnd) {
						for m := range begin.Messages.All {
							if consume.HeaderCarrier(m.Headers).Get("traceparent") != fmt.Sprint("trace-", m.Offset) {
								t.Errorf("End got record %d as the handler has left it", m.Offset)
							}
						}
						handler.End(ctx, begin, end)
					},
				}
			})
			s.awaitCommitted(t, 11)
			m.leave(t)
			s.verifyOnce(t, 9)
			w.verify(t)
			wanted := slices.Concat([]string{"Assignment", "Fetch", "OffsetCommit", "Process"}, way.paths)
			slices.Sort(wanted)
			if got := w.paths(); !slices.Equal(got, wanted) {
				t.Errorf("paths\n%s, want\n%s", strings.Join(got, "\n"), strings.Join(wanted, "\n"))
			}
			for _, line := range []string{"assignment: ok", "process 1+1 attempt 2: 0 0 failed", "store dead letter 1+1 attempt 2: 1 0 ok"} {
				if !w.said(line) {
					t.Errorf("no %q in\n%s", line, strings.Join(w.ends, "\n"))
				}
			}
			var processed, duplicates int
			for _, line := range w.ends {
				var offset, records, attempt, did, saw int
				var rest string
				for _, kind := range []string{"process", "batch"} {
					if n, _ := fmt.Sscanf(line, kind+" %d+%d attempt %d: %d %d %s", &offset, &records, &attempt, &did, &saw, &rest); n == 6 {
						processed, duplicates = processed+did, duplicates+saw
					}
				}
			}
			if want := map[consume.EventKind]int{consume.EventRetry: 1, consume.EventDeadLetter: 1}; processed != 9 || duplicates != 1 || !maps.Equal(w.events, want) {
				t.Errorf("%d processed, %d duplicates, events %v in\n%s", processed, duplicates, w.events, strings.Join(w.ends, "\n"))
			}
		})
	}
}

// Whichever way a handler leaves, each hook that began ends once, and says how.
func TestHooksEnd(t *testing.T) {
	t.Parallel()
	b := broker.InProcess(t)
	for outcome, handle := range map[string]func(ctx context.Context) error{
		"panic":  func(context.Context) error { return errors.New(dereferenceNil(nil)) },
		"exited": func(context.Context) error { runtime.Goexit(); return nil }, //nolint:nlreturn // It does not.
		"timeout": func(ctx context.Context) error {
			<-ctx.Done()

			return ctx.Err()
		},
	} {
		for name, use := range ways {
			t.Run(outcome+" "+name, func(t *testing.T) {
				t.Parallel()
				s := setup(t, b, 1)
				b.Write(t, s.topic, events(0, 5, 1)...)
				var w watcher
				m := s.start(t, func(c *settings) {
					c.Failure.Retry.MaxAttempts, c.HandlerTimeout = 1, 500*time.Millisecond
					use(c, func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
						if m.Offset == 3 {
							return handle(ctx)
						}

						return record(ctx, tx, m)
					})
					w.watch(c)
				})
				if outcome == "exited" {
					if err := m.wait(t); !errors.Is(err, consume.ErrHandlerExited) {
						t.Errorf("Run returned %v", err)
					}
				} else {
					s.awaitCommitted(t, 5)
					m.leave(t)
				}
				w.verify(t)
				told := slices.ContainsFunc(w.ends, func(line string) bool {
					return strings.HasPrefix(line, "handler ") && strings.HasSuffix(line, ": "+outcome)
				})
				if !told || outcome == "exited" && !w.said("assignment: exited") {
					t.Errorf("it said\n%s", strings.Join(w.ends, "\n"))
				}
			})
		}
	}
}

// A handler that does not heed its context is left behind by the group. Its hooks end when it does.
func TestHooksOfAHandlerThatStaysBehind(t *testing.T) {
	t.Parallel()
	b := broker.InProcess(t)
	for name, use := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, b, 1)
			b.Write(t, s.topic, events(0, 5, 1)...)
			var w watcher
			began, ended, release := make(chan struct{}, 100), make(chan struct{}), make(chan struct{})
			end := sync.OnceFunc(func() { close(ended) })
			m := s.start(t, func(c *settings) {
				c.DrainTimeout, c.HandlerTimeout = 200*time.Millisecond, 100*time.Millisecond
				use(c, func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
					if m.Offset == 0 {
						context.AfterFunc(ctx, end)
						began <- struct{}{}
						<-release
					}

					return record(ctx, tx, m)
				})
				w.watch(c)
			})
			<-began
			m.stop()
			<-ended
			if w.began("Process") == 0 || w.said("handler 0+1: timeout") {
				t.Errorf("it said\n%s", strings.Join(w.ends, "\n"))
			}
			close(release)
			m.leave(t)
			w.verify(t)
		})
	}
}

// A partition that moves to another member ends its assignment here, and begins one there.
func TestHooksOfARebalance(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 2)
	s.broker.Write(t, s.topic, events(0, 20, 2)...)
	var first, second watcher
	one := s.start(t, func(c *settings) { first.watch(c) })
	s.awaitCommitted(t, 20)
	other := s.start(t, func(c *settings) { second.watch(c) })
	until(t, "a partition to move", func() bool { return second.began("Assignment") > 0 && first.said("assignment: ok") })
	one.leave(t)
	other.leave(t)
	first.verify(t)
	second.verify(t)
}

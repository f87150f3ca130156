package e2e_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/health"
	"github.com/nova-events/idempotent-consumer/ops"
)

// pause has an operator pause the consumer, and waits until members stand still.
func (s *bench) pause(t *testing.T, members ...*member) {
	t.Helper()
	if r, err := s.operator(t).Pause(t.Context(), "test", ops.PauseRequest{By: "alice", Reason: "the bank is down"}); err != nil || !r.Changed {
		t.Fatalf("%+v, %v", r, err)
	}
	for _, m := range members {
		m.awaitHealth(t, "the member to stand still", paused)
	}
}

func (s *bench) resume(t *testing.T) {
	t.Helper()
	if r, err := s.operator(t).Resume(t.Context(), "test"); err != nil || !r.Changed {
		t.Fatalf("%+v, %v", r, err)
	}
}

// paused reports whether all partitions stand still for an operator.
func paused(h consume.Health) bool {
	for _, p := range h.Partitions {
		if p.State != consume.Paused || p.Pause != consume.PauseOperator || !strings.Contains(p.Reason, "by alice (") || !strings.HasSuffix(p.Reason, ": the bank is down") {
			return false
		}
	}

	return len(h.Partitions) > 0
}

// Two members obey, as every handler does: nothing takes effect until they are resumed, they stay in the group and
// are healthy, and then nothing is lost or doubled.
func TestPausedGroupStandsStill(t *testing.T) {
	t.Parallel()
	for name, use := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, broker.InProcess(t), 4)
			var (
				watchers [2]watcher
				logs     [2]heard
				members  [2]*member
			)
			for i := range members {
				members[i] = s.start(t, func(c *settings) {
					use(c, record)
					watchers[i].watch(c)
					c.Logger = slog.New(slog.NewTextHandler(&logs[i].log, nil))
				})
			}
			s.broker.Write(t, s.topic, events(0, 100, 4)...)
			s.awaitCommitted(t, 100)
			generations := func() (all []int32) {
				for _, m := range members {
					h := m.Health()
					all = append(all, h.Generation, int32(len(h.Partitions)))
				}

				return all
			}
			until(t, "each member to have two partitions", func() bool {
				g := generations()

				return g[1] == 2 && g[3] == 2
			})
			before := generations()

			began := time.Now()
			s.pause(t, members[:]...)
			t.Logf("it stood still after %v", time.Since(began))
			s.broker.Write(t, s.topic, events(100, 100, 4)...)
			letPass(max(3*s.broker.MinSessionTimeout, 2*time.Second)) // Nothing is to happen.
			if lines, _, err := s.effects(t.Context()); err != nil || lines != 100 {
				t.Errorf("%d events took effect in the pause, %v", lines-100, err)
			}
			if after := generations(); !slices.Equal(after, before) {
				t.Errorf("generations and partitions were %v, and are %v", before, after)
			}
			for _, m := range members {
				if live, ready := m.probes(t, health.Limits{Paused: time.Millisecond}); live != http.StatusOK || ready != http.StatusOK {
					t.Errorf("live %d, ready %d", live, ready)
				}
			}

			s.resume(t)
			s.awaitCommitted(t, 200)
			if after := generations(); !slices.Equal(after, before) {
				t.Errorf("generations and partitions were %v, and are %v", before, after)
			}
			for i, m := range members {
				m.leave(t)
				watchers[i].verify(t)
				if n := watchers[i].began("Pause"); n != 2 || !watchers[i].said("pause operator: true") {
					t.Errorf("%d pauses, and it said\n%s", n, strings.Join(watchers[i].ends, "\n"))
				}
				for _, line := range []string{"an operator has paused the consumer", "an operator has resumed the consumer"} {
					if n := logs[i].times(line); n != 1 {
						t.Errorf("%q stands in the log %d times", line, n)
					}
				}
			}
			s.verifyOnce(t, 200)
		})
	}
}

// What is in progress is finished.
func TestPauseLetsRecordsInProgressEnd(t *testing.T) {
	t.Parallel()
	for name, use := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, broker.InProcess(t), 1)
			s.broker.Write(t, s.topic, events(0, 1, 1)...)
			goOn := make(chan struct{})
			var began atomic.Bool
			m := s.start(t, func(c *settings) {
				use(c, func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
					began.Store(true)
					select {
					case <-goOn:
					case <-ctx.Done():
					}

					return record(ctx, tx, m)
				})
			})
			until(t, "the handler to run", began.Load)
			s.pause(t)
			letPass(2 * time.Second) // Nothing is to happen.
			if h := m.Health().Partitions[0]; h.State != consume.Processing {
				t.Errorf("with a handler that runs it is %+v", h)
			}
			close(goOn)
			m.awaitHealth(t, "the member to stand still", paused)
			s.awaitCommitted(t, 1)
			m.leave(t)
			s.verify(t, 1)
		})
	}
}

// A handler that fails again and again waits between its attempts.
func TestPauseBetweenAttempts(t *testing.T) {
	t.Parallel()
	down := errors.New("the bank is down")
	for kind, failure := range map[string]error{"failure": down, "transient": consume.Transient(down)} {
		for name, use := range ways {
			t.Run(kind+" "+name, func(t *testing.T) {
				t.Parallel()
				s := setup(t, broker.InProcess(t), 1)
				s.broker.Write(t, s.topic, events(0, 2, 1)...)
				var healed atomic.Bool
				var tries atomic.Int64
				m := s.start(t, func(c *settings) {
					c.Failure.Retry.MaxAttempts, c.Failure.Retry.LongestPause = 1000, 20*time.Millisecond
					use(c, func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
						if tries.Add(1); !healed.Load() {
							return failure
						}

						return record(ctx, tx, m)
					})
				})
				until(t, "the handler to fail again and again", func() bool { return tries.Load() > 5 })
				s.pause(t, m)
				failed := tries.Load()
				letPass(2500 * time.Millisecond) // The longest pause between two tries is 2 s.
				if n := tries.Load() - failed; n != 0 {
					t.Errorf("the handler ran %d times in the pause", n)
				}
				healed.Store(true)
				s.resume(t)
				s.awaitCommitted(t, 2)
				m.leave(t)
				s.verifyOnce(t, 2)
			})
		}
	}
}

// A member that starts in a pause joins the group and begins with nothing: it fetches no record, and if it dies that is
// not held against the first one.
func TestMemberThatStartsInAPause(t *testing.T) {
	t.Parallel()
	for name, use := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, broker.InProcess(t), 1)
			m := s.start(t, nil)
			s.broker.Write(t, s.topic, events(0, 1, 1)...)
			s.awaitCommitted(t, 1)
			m.leave(t)
			s.broker.Write(t, s.topic, events(1, 10, 1)...)
			s.pause(t)
			var w watcher
			m = s.start(t, func(c *settings) {
				use(c, record)
				w.watch(c)
			})
			m.awaitHealth(t, "the member to stand still", paused)
			letPass(time.Second) // Nothing is to happen.
			var noted int
			if err := s.pool.QueryRow(t.Context(), `SELECT max(started_offset) FROM idem.checkpoints`).Scan(&noted); err != nil || noted != 0 {
				t.Errorf("it is noted that somebody began with offset %d, %v", noted, err)
			}
			if n := w.began("Fetch") + w.began("Process"); n != 0 {
				t.Errorf("it has begun %v", w.paths())
			}
			m.leave(t)
			w.verify(t)
			if !w.said("pause operator: false") {
				t.Errorf("it said\n%s", strings.Join(w.ends, "\n"))
			}

			m = s.start(t, func(c *settings) { use(c, record) })
			m.awaitHealth(t, "the member to stand still", paused)
			s.resume(t)
			s.awaitCommitted(t, 11)
			m.leave(t)
			s.verifyOnce(t, 11)
		})
	}
}

// While PostgreSQL is out of reach, and when it is back, the pause goes on.
func TestPauseOutlivesAnOutageOfPostgres(t *testing.T) {
	t.Parallel()
	s, through, proxy := setupVia(t, broker.InProcess(t), 1)
	var (
		w   watcher
		log heard
	)
	m := through.start(t, func(c *settings) {
		w.watch(c)
		c.Logger = slog.New(slog.NewTextHandler(&log.log, nil))
	})
	s.broker.Write(t, s.topic, events(0, 10, 1)...)
	s.awaitCommitted(t, 10)
	s.pause(t, m)
	s.broker.Write(t, s.topic, events(10, 10, 1)...)
	proxy.Refuse()
	const warning = `level=WARN msg="consume: cannot find out whether the consumer is paused"`
	until(t, "a line that nobody can tell of the pause", func() bool { return log.times(warning) > 0 && log.times(" paused=true ") > 0 })
	if h := m.Health(); !paused(h) {
		t.Errorf("without PostgreSQL it is %+v", h)
	}
	proxy.Resume()
	letPass(1500 * time.Millisecond) // Nothing is to happen.
	if lines, _, err := s.effects(t.Context()); err != nil || lines != 10 {
		t.Errorf("%d events took effect in the pause, %v", lines-10, err)
	}
	s.resume(t)
	s.awaitCommitted(t, 20)
	m.leave(t)
	w.verify(t)
	s.verify(t, 20)
	if n := w.began("Pause"); n != 1 {
		t.Errorf("%d pauses: %v", n, w.ends)
	}
}

// Dead letters that are to be replayed wait.
func TestReplaysWaitInAPause(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	records := events(0, 3, 1)
	records[1].Value = []byte("poison for ever")
	s.broker.Write(t, s.topic, records...)
	var handler refuser
	m := s.start(t, func(c *settings) { c.Handle, c.Failure.ReplayInterval = handler.handle, 50*time.Millisecond })
	s.awaitCommitted(t, 3)
	s.pause(t, m)
	handler.healed.Store(true)
	s.askForReplay(t)
	letPass(time.Second) // Nothing is to happen.
	if got := strings.Join(s.letters(t), ","); got != "1 replay 1" {
		t.Errorf("in the pause the dead letter is %q", got)
	}
	s.resume(t)
	until(t, "the dead letter to be replayed", func() bool { return strings.Contains(strings.Join(s.letters(t), ","), "replayed") })
	m.leave(t)
	s.verifyOnce(t, 3)
}

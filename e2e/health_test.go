package e2e_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/health"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// awaitHealth waits for a consumer to be as the function wants it.
func (m *member) awaitHealth(t *testing.T, what string, is func(consume.Health) bool) {
	t.Helper()
	var h consume.Health
	defer func() {
		if t.Failed() {
			t.Logf("it is %+v", h)
		}
	}()
	until(t, what, func() bool {
		h = m.Health()

		return is(h)
	})
}

// probes returns the status of the liveness and of the readiness probe.
func (m *member) probes(t *testing.T, limits health.Limits) (live, ready int) {
	t.Helper()
	status := func(handler http.Handler) int {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))

		return answer.Code
	}

	return status(health.Live(m, limits)), status(health.Ready(m, limits))
}

// The consumer tells what it is doing, while PostgreSQL is away, too.
func TestHealth(t *testing.T) {
	t.Parallel()
	const ok, bad = http.StatusOK, http.StatusServiceUnavailable
	for name, use := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.NewDB(t)
			proxy := pgtest.NewProxy(t, db)
			s := setupIn(t, broker.InProcess(t), 1, db.Pool(t, pgtest.Via(proxy.Addr()), pgtest.MaxConns(8)))
			proxy.Refuse()
			goOn := make(chan struct{})
			m := s.start(t, func(c *settings) {
				use(c, func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
					if m.Offset == 3 {
						select {
						case <-goOn:
						case <-ctx.Done():
						}
					}

					return record(ctx, tx, m)
				})
			})
			limits := health.Limits{Handler: 50 * time.Millisecond, Paused: 50 * time.Millisecond}
			m.awaitHealth(t, "it to say that it waits for PostgreSQL", func(h consume.Health) bool {
				return h.State == consume.Starting && h.Reason != "" && h.Group == s.group && h.Generation == -1
			})
			if live, ready := m.probes(t, limits); live != ok || ready != bad {
				t.Errorf("starting: live %d, ready %d", live, ready)
			}
			proxy.Resume()
			idle := func(position int64) func(consume.Health) bool {
				return func(h consume.Health) bool {
					if h.State != consume.Joined || h.Member == "" || h.Generation < 1 || len(h.Partitions) != 1 {
						return false
					}
					p := h.Partitions[0]

					return p.Topic == s.topic && p.State == consume.Idle && p.Position == position && p.Lag <= 0 && p.Handler.IsZero() && !p.LastSuccess.IsZero()
				}
			}
			m.awaitHealth(t, "it to be idle", idle(0))
			if live, ready := m.probes(t, limits); live != ok || ready != ok {
				t.Errorf("idle: live %d, ready %d", live, ready)
			}

			s.broker.Write(t, s.topic, events(0, 10, 1)...)
			m.awaitHealth(t, "a handler to hang", func(h consume.Health) bool {
				p := h.Partitions[0]

				return p.State == consume.Processing && !p.Handler.IsZero() && h.At.Sub(p.Handler) > limits.Handler && p.Position <= 3 && p.Lag >= 7
			})
			if live, ready := m.probes(t, limits); live != bad || ready != bad {
				t.Errorf("a handler hangs: live %d, ready %d", live, ready)
			}
			proxy.Refuse()
			close(goOn)
			m.awaitHealth(t, "it to say that it stands still", func(h consume.Health) bool {
				p := h.Partitions[0]

				return p.State == consume.Paused && p.Reason != "" && h.At.Sub(p.Since) > limits.Paused
			})
			if live, ready := m.probes(t, limits); live != ok || ready != bad {
				t.Errorf("paused: live %d, ready %d", live, ready)
			}
			proxy.Resume()
			m.awaitHealth(t, "it to be idle again", idle(10))
			m.leave(t)
			if h := m.Health(); h.State != consume.NotRunning || h.Reason != "" || len(h.Partitions) != 0 {
				t.Errorf("at the end: %+v", h)
			}
			if live, ready := m.probes(t, limits); live != bad || ready != bad {
				t.Errorf("at the end: live %d, ready %d", live, ready)
			}
		})
	}
}

// Why a consumer has ended stands in its health, too.
func TestHealthSaysWhyItEnded(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	s.broker.Write(t, s.topic, events(0, 1, 1)...)
	m := s.start(t, func(c *settings) {
		c.Failure.Policy = consume.StopOnFailure
		c.Handle = func(context.Context, pgx.Tx, consume.Message) error {
			return consume.Permanent(errors.New("of no use"))
		}
	})
	if err := m.wait(t); err == nil {
		t.Error("it did not end")
	}
	if h := m.Health(); h.State != consume.NotRunning || !strings.Contains(h.Reason, "of no use") {
		t.Errorf("%+v", h)
	}
}

package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
)

// A partition that stands still ends its pause when it is given up.
func TestHooksOfAPauseThatIsGivenUp(t *testing.T) {
	t.Parallel()
	leave := func(t *testing.T, m *member, w *watcher, kind consume.PauseKind) {
		t.Helper()
		until(t, "the partition to stand still", func() bool { return w.began("Pause") > 0 })
		m.leave(t)
		w.verify(t)
		if !w.said(fmt.Sprint("pause ", kind, ": false")) {
			t.Errorf("it said\n%s", strings.Join(w.ends, "\n"))
		}
	}
	for name, use := range ways {
		t.Run("PostgreSQL is away "+name, func(t *testing.T) {
			t.Parallel()
			s, through, proxy := setupVia(t, broker.InProcess(t), 1)
			s.broker.Write(t, s.topic, events(0, 10, 1)...)
			var w watcher
			m := through.start(t, func(c *settings) {
				use(c, record)
				w.watch(c)
			})
			s.awaitCommitted(t, 10)
			proxy.Refuse()
			s.broker.Write(t, s.topic, events(10, 10, 1)...)
			leave(t, m, &w, consume.PauseTransient)
		})
	}
	t.Run("a transaction is open", func(t *testing.T) {
		t.Parallel()
		s := setup(t, broker.InProcess(t), 1)
		open := s.broker.Begin(t, s.topic)
		open.Produce(t, events(0, 3, 1))
		var w watcher
		leave(t, s.start(t, w.watch), &w, consume.PauseProducer)
		open.End(t, kgo.TryAbort)
	})
	t.Run("fetches fail", func(t *testing.T) {
		t.Parallel()
		s := setup(t, broker.InProcess(t), 1)
		s.broker.Fake.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
			s.broker.Fake.KeepControl()

			return nil, errUnavailable, true
		})
		var w watcher
		leave(t, s.start(t, w.watch), &w, consume.PauseKafka)
	})
}

// A partition whose checkpoint somebody locks waits, in one pause that ends when it is acquired.
func TestHooksOfAnAcquisitionThatWaits(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	s.broker.Write(t, s.topic, events(0, 10, 1)...)
	m := s.start(t, nil)
	s.awaitCommitted(t, 10)
	m.leave(t)
	tx, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	if _, err := tx.Exec(t.Context(), `SELECT FROM idem.checkpoints FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	var w watcher
	m = s.start(t, w.watch)
	until(t, "the partition to wait", func() bool { return w.began("Pause") > 0 })
	letPass(2500 * time.Millisecond) // It is told once a second.
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	until(t, "the partition to be assigned", func() bool { return w.began("Assignment") > 0 })
	m.leave(t)
	w.verify(t)
	if n := w.began("Pause"); n != 1 || !w.said("pause former owner: true") {
		t.Errorf("%d pauses:\n%s", n, strings.Join(w.ends, "\n"))
	}
}

// A breaker that is open when its partition is given up ends its pause.
func TestHooksOfABreakerThatStaysOpen(t *testing.T) {
	t.Parallel()
	b := broker.InProcess(t)
	for name, use := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, b, 1)
			b.Write(t, s.topic, events(0, 20, 1)...)
			var other service
			var w watcher
			other.down.Store(true)
			m := s.start(t, func(c *settings) {
				breaking(c)
				use(c, other.handle)
				w.watch(c)
			})
			until(t, "the breaker to open", func() bool { return w.began("Pause") == 1 })
			m.leave(t)
			w.verify(t)
			if !w.said("pause breaker: false") {
				t.Errorf("it said\n%s", strings.Join(w.ends, "\n"))
			}
		})
	}
}

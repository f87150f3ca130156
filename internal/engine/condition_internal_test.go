package engine

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
)

// Lanes and the fetcher of a partition stand still, and go on, each for itself. The oldest counts, and a pause
// counts for more than what is processed beside it.
func TestConditionOfSeveral(t *testing.T) {
	t.Parallel()
	c := newCondition()
	expect := func(what string, state consume.PartitionState, reason string) consume.PartitionHealth {
		t.Helper()
		h := c.health()
		if h.State != state || h.Reason != reason || h.Since.IsZero() {
			t.Errorf("%s: %+v", what, h)
		}

		return h
	}
	expect("at first", consume.Acquiring, "")
	former := c.pause(consume.PauseBegin{Kind: consume.PauseTransient, Err: errors.New("the former owner")})
	expect("behind the former owner", consume.Paused, "the former owner")
	c.resume(former)
	c.acquire(7)
	if h := expect("acquired", consume.Idle, ""); h.Position != 7 || h.Lag != None || h.LastSuccess.IsZero() {
		t.Errorf("%+v", h)
	}
	c.learn(0) // by a broker that throttles
	if h := c.health(); h.Lag != None {
		t.Errorf("%+v", h)
	}
	c.learn(10)
	one, other := &worker{}, &worker{}
	c.work(one)
	since := expect("one works", consume.Processing, "").Since
	c.work(other)
	if h := expect("both work", consume.Processing, ""); !h.Since.Equal(since) || h.Lag != 3 {
		t.Errorf("%+v", h)
	}
	first := c.pause(consume.PauseBegin{Kind: consume.PauseTransient, Err: errors.New("PostgreSQL")})
	second := c.pause(consume.PauseBegin{Kind: consume.PauseTransient, Err: errors.New("Kafka")})
	expect("both stand still", consume.Paused, "PostgreSQL")
	c.resume(first)
	expect("one goes on", consume.Paused, "Kafka")
	c.resume(second)
	expect("the other, too", consume.Processing, "")
	operator := c.pause(consume.PauseBegin{Kind: consume.PauseOperator, Err: errors.New("alice")})
	expect("an operator lets both finish", consume.Processing, "")
	c.rest(one)
	c.reach(10)
	c.rest(other)
	third := c.pause(consume.PauseBegin{Kind: consume.PauseKafka, Err: errors.New("Kafka")})
	if h := expect("an operator counts for more", consume.Paused, "alice"); h.Pause != consume.PauseOperator {
		t.Errorf("%+v", h)
	}
	c.resume(third)
	c.resume(operator)
	if h := expect("all is done", consume.Idle, ""); h.Lag != 0 || !h.Since.After(since) {
		t.Errorf("%+v", h)
	}
}

// Who asks why a partition stands still is told what fails now, and since when something does.
func TestReasonIsTheLatest(t *testing.T) {
	t.Parallel()
	w := &worker{condition: newCondition(), config: &consume.Config{}, log: slog.New(slog.DiscardHandler)}
	w.condition.acquire(0)
	var p wait
	w.stand(t.Context(), &p, w.stands(consume.PauseKafka, None, io.EOF), "fetch failed")
	since := w.condition.health().Since
	w.stand(t.Context(), &p, w.stands(consume.PauseKafka, None, syscall.ECONNREFUSED), "fetch failed")
	if h := w.condition.health(); h.Reason != syscall.ECONNREFUSED.Error() || !h.Since.Equal(since) {
		t.Errorf("%+v", h)
	}
	w.resume(t.Context(), &p, None)
	if h := w.condition.health(); h.State != consume.Idle {
		t.Errorf("%+v", h)
	}
}

// Who leaves is not at work again by what ends meanwhile.
func TestLeavingMember(t *testing.T) {
	t.Parallel()
	e := New(nil, consume.Config{}, "g")
	e.Become(consume.Leaving, nil) // Run has ended before its context.
	if h := e.Health(); h.State != consume.NotRunning || h.Partitions == nil || h.Generation != None {
		t.Errorf("%+v", h)
	}
	e.Become(consume.Starting, errors.New("no broker"))
	e.Joined("m", 4)
	if h := e.Health(); h.State != consume.Joined || h.Reason != "" || h.Member != "m" || h.Generation != 4 {
		t.Errorf("%+v", h)
	}
	e.Become(consume.Leaving, nil)
	e.Become(consume.Joining, nil)
	since := e.Health().Since
	e.Because(errors.New("no answer"))
	if h := e.Health(); h.State != consume.Leaving || h.Since != since || time.Since(since) < 0 {
		t.Errorf("%+v", h)
	}
	e.Become(consume.NotRunning, idem.ErrFenced)
	if h := e.Health(); h.State != consume.NotRunning || h.Reason != idem.ErrFenced.Error() {
		t.Errorf("%+v", h)
	}
}

// While PostgreSQL is away at the start, the log has a line at first, and one when it is there.
func TestStartWithoutPostgreSQLIsToldOnce(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	e := New(nil, consume.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}, "g")
	tries := 0
	err := e.await(t.Context(), func() error {
		if tries++; tries < 4 {
			return syscall.ECONNREFUSED
		}

		return nil
	})
	if lines := strings.Count(log.String(), "\n"); err != nil || lines != 2 || !strings.Contains(log.String(), "PostgreSQL is there") {
		t.Errorf("%v, %d lines:\n%s", err, lines, log.String())
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := e.await(ctx, func() error { return syscall.ECONNREFUSED }); err != nil {
		t.Error(err)
	}
}

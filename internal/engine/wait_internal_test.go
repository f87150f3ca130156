package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
)

// pauses are what a hook is told of pauses.
type pauses struct{ told []string }

func (p *pauses) hook() idem.Hook[consume.PauseBegin, consume.PauseEnd] {
	return idem.Hook[consume.PauseBegin, consume.PauseEnd]{
		Begin: func(ctx context.Context, begin consume.PauseBegin) context.Context {
			p.told = append(p.told, "begin "+begin.Kind.String())

			return ctx
		},
		End: func(_ context.Context, begin consume.PauseBegin, end consume.PauseEnd) {
			p.told = append(p.told, fmt.Sprint("end ", begin.Kind, " ", end.GoesOn))
		},
	}
}

// newLogged returns a worker that writes to a log.
func newLogged(hooks consume.Hooks) (*worker, *bytes.Buffer) {
	var log bytes.Buffer
	_, w := newPausable(hooks)
	w.log = slog.New(slog.NewTextHandler(&log, nil))

	return w, &log
}

// What waits says so at once, then once a minute, and when it goes on; the next wait begins anew.
func TestWaitIsToldOnceAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var told pauses
		w, log := newLogged(consume.Hooks{Pause: told.hook()})
		for range 2 {
			began := time.Now()
			err := w.persist(t.Context(), "test", func() error {
				if time.Since(began) < 5*time.Minute {
					return syscall.ECONNREFUSED
				}

				return nil
			})
			lines := strings.Split(strings.TrimSpace(log.String()), "\n")
			if err != nil || len(lines) < 5 || len(lines) > 7 {
				t.Fatalf("%v, %d lines:\n%s", err, len(lines), log)
			}
			if !strings.Contains(lines[0], "since=0s") || !strings.Contains(lines[2], "since=2m") || !strings.Contains(lines[len(lines)-1], `going on" offset=-1 waited=5m`) {
				t.Errorf("it said:\n%s", log)
			}
			log.Reset()
		}
		if want := []string{"begin transient", "end transient true"}; !slices.Equal(told.told, slices.Repeat(want, 2)) {
			t.Errorf("told %q", told.told)
		}
	})
}

// A wait that is given up does not go on.
func TestWaitIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var told pauses
		w, log := newLogged(consume.Hooks{Pause: told.hook()})
		ctx, revoke := context.WithTimeout(t.Context(), time.Minute/2)
		defer revoke()
		if err := w.persist(ctx, "test", func() error { return syscall.ECONNREFUSED }); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Error(err)
		}
		if lines := strings.Count(log.String(), "\n"); lines != 1 || !strings.HasSuffix(told.told[1], "false") || len(told.told) != 2 {
			t.Errorf("told %q and:\n%s", told.told, log)
		}
		if err := w.askBroker(ctx, "test", func() error { return syscall.ECONNREFUSED }); err != nil {
			t.Errorf("asked when it is no longer wanted: %v", err)
		}
	})
}

// A record's waits are told one by one, although one state serves them all.
func TestNextWaitBeginsAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, log := newLogged(consume.Hooks{})
		var p wait
		for range 2 {
			log.Reset()
			w.pause(t.Context(), &p, consume.PauseBegin{}, "test")
			w.resume(t.Context(), &p, 7)
			w.resume(t.Context(), &p, 7)
			if said := log.String(); strings.Count(said, "\n") != 2 || !strings.Contains(said, "since=0s") {
				t.Errorf("it said:\n%s", said)
			}
		}
	})
}

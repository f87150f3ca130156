package engine

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
)

func newPausable(hooks consume.Hooks) (*Engine, *worker) {
	e := &Engine{config: consume.Config{Logger: slog.New(slog.DiscardHandler), Hooks: hooks}}

	return e, &worker{engine: e, config: &e.config, log: e.config.Logger, condition: newCondition(), breaker: &breaker{}, owner: new(idem.Owner)}
}

// A record that the breaker held became a dead letter after an operator's pause as long as the breaker's patience.
func TestPauseTakesNothingOfTheBreakersPatience(t *testing.T) {
	t.Parallel()
	e, w := newPausable(consume.Hooks{})
	e.config.Failure.Breaker.Patience = time.Minute
	w.breaker.opened = time.Now()
	hold := func(a attempts) bool { return w.hold(t.Context(), &a, consume.Message{}, errors.New("down")) }
	a := attempts{began: e.gate.clock(), held: true}
	e.gate.set(t.Context(), e, &idem.Pause{})
	a.began, e.gate.closed = a.began.Add(-time.Hour), e.gate.closed.Add(-time.Hour)
	e.gate.set(t.Context(), e, nil)
	if !hold(a) {
		t.Error("it does not hold the record after a pause")
	}
	a.began = a.began.Add(-time.Minute)
	if hold(a) {
		t.Error("it holds the record for longer than its patience")
	}
}

// Partitions go on while a hook is told of the pause.
func TestHooksOfAPauseHoldUpNobody(t *testing.T) {
	t.Parallel()
	var (
		e    *Engine
		w    *worker
		told bool
	)
	e, w = newPausable(consume.Hooks{Pause: idem.Hook[consume.PauseBegin, consume.PauseEnd]{End: func(ctx context.Context, _ consume.PauseBegin, _ consume.PauseEnd) {
		told = w.mayBegin(ctx)
	}}})
	defer e.gate.add(t.Context(), w)()
	e.gate.set(t.Context(), e, &idem.Pause{})
	e.gate.set(t.Context(), e, nil)
	if !told {
		t.Error("a partition does not go on")
	}
}

// otherTopic is the log of a topic that was created again.
type otherTopic struct{ Source }

func (otherTopic) CheckTopic(context.Context) error { return ErrOtherTopic }

// What a policy decides about is not decided in a pause: Run ended, or records were skipped, that an operator wanted to
// keep as they were.
func TestPoliciesWaitForTheEndOfAPause(t *testing.T) {
	t.Parallel()
	for name, met := range map[string]struct{ err, want error }{
		"unreadable batch":    {&UnreadableError{First: 1, Last: 2, Err: errors.New("torn")}, consume.ErrUnreadable},
		"offset out of range": {&outOfRangeError{offset: 1}, ErrOtherTopic},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				e, w := newPausable(consume.Hooks{})
				w.source = otherTopic{}
				e.gate.set(t.Context(), e, &idem.Pause{})
				revoked, revoke := context.WithCancel(t.Context())
				decide := func(revoked context.Context) <-chan error {
					decided := make(chan error, 1)
					go func() {
						_, _, err := w.elsewhere(revoked, t.Context(), met.err)
						decided <- err
					}()

					return decided
				}
				stopped, decided := decide(revoked), decide(t.Context())
				time.Sleep(time.Hour) //nolint:forbidigo // Of synctest's clock.
				revoke()
				if err := <-stopped; err != met.err { //nolint:errorlint // Nothing was made of it.
					t.Errorf("decided when the partition was revoked in the pause: %v", err)
				}
				select {
				case err := <-decided:
					t.Errorf("decided in the pause: %v", err)
				default:
					e.gate.set(t.Context(), e, nil)
					if err := <-decided; !errors.Is(err, met.want) {
						t.Errorf("%v, want %v", err, met.want)
					}
				}
			})
		})
	}
}

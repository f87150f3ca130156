package engine

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
)

// With LetPanic a panic goes on to where nobody stops it.
func TestLetPanic(t *testing.T) {
	t.Parallel()
	cause := errors.New("boom")
	for _, let := range []bool{false, true} {
		config, err := consume.Config{LetPanic: let, DrainTimeout: time.Second, Handle: func(context.Context, pgx.Tx, consume.Message) error { return nil }, Hooks: consume.Hooks{
			Event:   func(context.Context, consume.Event) { panic(cause) },
			Process: idem.Hook[consume.ProcessBegin, consume.ProcessEnd]{Begin: func(context.Context, consume.ProcessBegin) context.Context { panic(cause) }},
		}}.Complete(false)
		if err != nil {
			t.Fatal(err)
		}
		w := &worker{config: &config}
		for name, call := range map[string]func() error{
			"handler": func() error { return w.safely(consume.Message{}, func() error { panic(cause) }) },
			"an event": func() error {
				w.tell(t.Context(), 0, consume.Event{})

				return nil
			},
			"a hook": func() error {
				_, err := w.watchOne(t.Context(), idem.OpProcess, consume.Message{}, func(context.Context) (idem.Outcome, error) { return 0, nil })

				return err
			},
		} {
			var err error
			passed := func() (passed bool) {
				defer func() { passed = recover() != nil }()
				err = call()

				return false
			}()
			if passed != let || !let && name == "handler" && !errors.Is(err, cause) {
				t.Errorf("%s, LetPanic %t: it passed: %t, error %v", name, let, passed, err)
			}
		}
	}
}

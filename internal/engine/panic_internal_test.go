package engine

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/consume"
)

// With LetPanic a panic goes on to where nobody stops it.
func TestLetPanic(t *testing.T) {
	t.Parallel()
	cause := errors.New("boom")
	for _, let := range []bool{false, true} {
		config, err := consume.Config{LetPanic: let, DrainTimeout: time.Second, Handle: func(context.Context, pgx.Tx, consume.Message) error { return nil }, Observe: func(consume.Event) { panic(cause) }}.Complete(false)
		if err != nil {
			t.Fatal(err)
		}
		w := &worker{config: &config}
		for name, call := range map[string]func() error{
			"handler": func() error { return w.safely(consume.Message{}, func() error { panic(cause) }) },
			"Observe": func() error {
				w.config.Observe(consume.Event{})

				return nil
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

package kafkaadapter

import (
	"errors"
	"log/slog"
	"testing"
)

// With LetPanic a panic goes on to where nobody stops it.
func TestLetPanic(t *testing.T) {
	t.Parallel()
	cause := errors.New("boom")
	for _, let := range []bool{false, true} {
		w := &worker{config: &Config{LetPanic: let, Logger: slog.New(slog.DiscardHandler), Observe: func(Event) { panic(cause) }}}
		w.config.Observe = w.config.observeSafely()
		for name, call := range map[string]func() error{
			"handler": func() error { return w.try(Message{}, func() error { panic(cause) }) },
			"Observe": func() error {
				w.config.Observe(Event{})

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

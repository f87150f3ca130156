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
		w.config.observeSafely()
		for name, call := range map[string]func() error{
			"handler": func() error { return w.try(Message{}, func() error { panic(cause) }) },
			"Observe": func() error { w.config.Observe(Event{}); return nil },
		} {
			var err error
			passed := func() (value any) {
				defer func() { value = recover() }()
				err = call()

				return nil
			}()
			if let && passed != cause || !let && (passed != nil || name == "handler" && !errors.Is(err, cause)) {
				t.Errorf("%s, LetPanic %t: %v passed, error %v", name, let, passed, err)
			}
		}
	}
}

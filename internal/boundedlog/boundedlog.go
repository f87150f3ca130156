// Package boundedlog keeps the lines of a log short, whatever ids, keys and errors they are given:
// what producers write into a record must not fill the log.
package boundedlog

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
)

// maxBytes is how much of one value is logged. It has room for every event id and for most stacks. JSON
// can make six times as much of it.
const maxBytes = 8 << 10

// New returns a logger whose values are cut. Nil stands for slog.Default.
func New(to *slog.Logger) *slog.Logger {
	if to == nil {
		to = slog.Default()
	}

	return slog.New(handler{to.Handler()})
}

type handler struct{ slog.Handler }

func (h handler) Handle(ctx context.Context, long slog.Record) error {
	short := slog.NewRecord(long.Time, long.Level, cut(long.Message), long.PC)
	long.Attrs(func(a slog.Attr) bool {
		short.AddAttrs(bounded(a))

		return true
	})

	return h.Handler.Handle(ctx, short)
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.Handler.WithAttrs(boundedAll(attrs))}
}

func (h handler) WithGroup(name string) slog.Handler { return handler{h.Handler.WithGroup(name)} }

func boundedAll(attrs []slog.Attr) []slog.Attr {
	all := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		all[i] = bounded(a)
	}

	return all
}

func bounded(a slog.Attr) slog.Attr {
	a.Value = a.Value.Resolve()
	switch a.Value.Kind() { //nolint:exhaustive // The others are short.
	case slog.KindString:
		a.Value = slog.StringValue(cut(a.Value.String()))
	case slog.KindGroup:
		a.Value = slog.GroupValue(boundedAll(a.Value.Group())...)
	case slog.KindAny:
		value := a.Value.Any()
		text := fmt.Sprint(value) // Unlike Error, it survives nil pointers.
		if len(text) <= maxBytes {
			break // The handler may want to know the value itself.
		}
		a.Value = slog.StringValue(cut(text))
		if err, ok := value.(error); ok {
			a.Value = slog.AnyValue(&cutError{cut(text), err})
		}
	}

	return a
}

// cutError is an error with less text.
type cutError struct {
	text string
	err  error
}

func (e *cutError) Error() string { return e.text }

func (e *cutError) Unwrap() error { return e.err }

func cut(text string) string {
	if len(text) <= maxBytes {
		return text
	}

	return fmt.Sprintf("%s… (%d bytes)", strings.ToValidUTF8(text[:maxBytes], ""), len(text))
}

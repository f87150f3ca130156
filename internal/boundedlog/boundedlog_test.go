package boundedlog_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/nova-events/idempotent-consumer/internal/boundedlog"
)

type valuer string

func (v valuer) LogValue() slog.Value { return slog.GroupValue(slog.String("inner", string(v))) }

// An event id of 900 KB made a line of megabytes.
func TestLongValuesAreCut(t *testing.T) {
	t.Parallel()
	id := strings.Repeat("\x00ü", 300_000)
	for name, log := range map[string]func(*slog.Logger){
		"string":  func(l *slog.Logger) { l.Warn("m", "event_id", id) },
		"message": func(l *slog.Logger) { l.Warn(id) },
		"error":   func(l *slog.Logger) { l.Warn("m", "error", errors.New(id)) },
		"bytes":   func(l *slog.Logger) { l.Warn("m", "key", []byte(id)) },
		"any":     func(l *slog.Logger) { l.Warn("m", "panic", struct{ ID string }{id}) },
		"group":   func(l *slog.Logger) { l.Warn("m", slog.Group("g", "event_id", id)) },
		"valuer":  func(l *slog.Logger) { l.Warn("m", "v", valuer(id)) },
		"with":    func(l *slog.Logger) { l.With("event_id", id).WithGroup("g").Warn("m", "event_id", id) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			log(boundedlog.New(slog.New(slog.NewJSONHandler(&out, nil))))
			if n := out.Len(); n == 0 || n > 100<<10 {
				t.Errorf("a line of %d bytes", n)
			}
			if !strings.Contains(out.String(), " bytes)") {
				t.Errorf("it does not say that it is cut: %.200s", out.String())
			}
		})
	}
}

func TestErrorsStayWhatTheyAre(t *testing.T) {
	t.Parallel()
	short := errors.New("short")
	long := fmt.Errorf("%s: %w", strings.Repeat("x", 1<<20), short)
	var none *failure
	for _, err := range []error{short, long, none} {
		var got error
		log := boundedlog.New(slog.New(slog.NewTextHandler(&bytes.Buffer{}, &slog.HandlerOptions{
			ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == "error" {
					got, _ = a.Value.Any().(error)
				}

				return a
			},
		})))
		log.Warn("m", "error", err)
		if !errors.Is(got, err) {
			t.Errorf("the handler was given %.100v", got)
		}
	}
}

type failure struct{ text string }

func (f *failure) Error() string { return f.text }

func TestSilence(t *testing.T) {
	t.Parallel()
	boundedlog.New(nil).Error("m")
}

// A consumer that cannot reach its brokers said nothing, unless it was given a logger.
func TestNoLoggerIsTheDefault(t *testing.T) { //nolint:paralleltest // The default is the process's.
	former := slog.Default()
	defer slog.SetDefault(former)
	var out bytes.Buffer
	slog.SetDefault(slog.New(slog.NewTextHandler(&out, nil)))
	boundedlog.New(nil).Warn("the brokers do not answer")
	if !strings.Contains(out.String(), "the brokers do not answer") {
		t.Errorf("logged: %q", out.String())
	}
}

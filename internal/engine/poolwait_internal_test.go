package engine

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
)

// A handler that does not return is told once a minute, and the next one begins anew.
func TestSlowHandlerIsToldOnceAMinute(t *testing.T) {
	t.Parallel()
	var b busy
	now := time.Now()
	if running, _ := b.slow(now.Add(time.Hour)); running > 0 {
		t.Error("it is told although none runs")
	}
	b.begin(7)
	for _, step := range []struct {
		after time.Duration
		told  bool
	}{{59 * time.Second, false}, {61 * time.Second, true}, {100 * time.Second, false}, {121 * time.Second, true}} {
		if running, offset := b.slow(now.Add(step.after)); running > 0 != step.told || step.told && offset != 7 {
			t.Errorf("after %v: %v at offset %d", step.after, running, offset)
		}
	}
	b.begin(8)
	if running, _ := b.slow(now.Add(time.Minute / 2)); running > 0 {
		t.Errorf("the next one runs for %v", running)
	}
}

// While PostgreSQL does not answer before or behind a handler, that is told once a minute, and not that the handler runs.
func TestWaitForPostgreSQLIsTold(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	config := consume.Config{}
	w := &worker{config: &config, log: slog.New(slog.NewTextHandler(&log, nil))}
	var watch poolWatch
	defer watch.add(w)()
	later := time.Now().Add(time.Second)
	expect := func(when, want string) {
		t.Helper()
		log.Reset()
		later = later.Add(time.Minute)
		for range 2 {
			watch.tellSlow(t.Context(), later)
		}
		if said := log.String(); strings.Count(said, "\n") != min(1, len(want)) || !strings.Contains(said, want) {
			t.Errorf("%s: it said %q, want %q", when, said, want)
		}
	}
	m := consume.Message{Record: consume.Record{Offset: 7}}
	config.Handle = func(context.Context, pgx.Tx, consume.Message) error {
		expect("in the handler", "a handler has not returned yet\" offset=7")

		return nil
	}
	_, err := w.watchOne(t.Context(), idem.OpProcess, m, func(ctx context.Context) (idem.Outcome, error) {
		const waits = "PostgreSQL has not answered yet\" offset=7"
		expect("before the handler", waits)
		var ran bool
		err := w.handler(m, &ran)(ctx, nil)
		expect("behind the handler", waits)

		return 0, err
	})
	if err != nil {
		t.Fatal(err)
	}
	expect("in the end", "")
}

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

// An EventID that does not return, for one record or for one in a batch, is told.
func TestSlowEventIDIsTold(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	var told []consume.Event
	config := consume.Config{Batch: consume.BatchConfig{Size: 10, Bytes: 1000}, HandleBatch: func(context.Context, pgx.Tx, []consume.Message) error { return nil }}
	config.Hooks.Event = func(_ context.Context, e consume.Event) { told = append(told, e) }
	w := &worker{config: &config, log: slog.New(slog.NewTextHandler(&log, nil))}
	var watch poolWatch
	defer watch.add(w)()
	config.EventID = func(record consume.Record) (string, error) {
		if record.Offset == 7 {
			watch.tellSlow(t.Context(), time.Now().Add(61*time.Second))
		}

		return "id", nil
	}
	seven := consume.Record{Offset: 7}
	for when, read := range map[string]func(){
		"alone":      func() { _, _ = w.eventID(seven) },
		"in a batch": func() { w.gather([]consume.Record{{Offset: 6}, seven, {Offset: 8}}) },
	} {
		log.Reset()
		told = nil
		read()
		watch.tellSlow(t.Context(), time.Now().Add(time.Hour)) // It has returned.
		if said := log.String(); strings.Count(said, "\n") != 1 || !strings.Contains(said, "EventID has not returned yet\" offset=7") {
			t.Errorf("%s: it said %q", when, said)
		}
		if len(told) != 1 || told[0].Kind != consume.EventHandlerSlow || told[0].Offset != 7 {
			t.Errorf("%s: it told %v", when, told)
		}
	}
}

package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
)

// What stands in a record, or in the error of a handler that repeats it, does not fill the log.
func TestLongEventIDIsNotALongLogLine(t *testing.T) {
	t.Parallel()
	b := broker.InProcess(t)
	s := setup(t, b, 1)
	long := strings.Repeat("\x00id", 300_000)
	records := events(0, 3, 1)
	records[0].Headers[0].Value = []byte(long)
	records[1].Value = []byte(long)
	for _, r := range records { // Together they are larger than a batch may be.
		b.Write(t, s.topic, r)
	}
	var log bytes.Buffer
	m := s.start(t, func(c *settings) {
		c.Logger = slog.New(slog.NewJSONHandler(&log, nil))
		c.Failure.Retry.MaxAttempts = 2
		c.Handle = func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
			if len(m.Value) == len(long) {
				return errors.New("unexpected value: " + string(m.Value))
			}

			return record(ctx, tx, m)
		}
	})
	s.awaitEffects(t, 1)
	m.leave(t)
	if letters := s.letters(t); len(letters) != 2 {
		t.Errorf("dead letters %v, want two", letters)
	}
	for _, text := range []string{"invalid event id", "unexpected value"} {
		if !strings.Contains(log.String(), text) {
			t.Errorf("the log does not tell of the %s", text)
		}
	}
	for line := range strings.Lines(log.String()) {
		if len(line) > 128<<10 {
			t.Errorf("a log line of %d bytes: %.200s", len(line), line)
		}
	}
}

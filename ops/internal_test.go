package ops

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nova-events/idempotent-consumer/internal/readable"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

func TestRetry(t *testing.T) {
	t.Parallel()
	client := &Client{log: slog.New(slog.DiscardHandler)}
	serialization, syntax := &pgconn.PgError{Code: "40001"}, &pgconn.PgError{Code: "42601"}
	for name, c := range map[string]struct {
		errs []error // of one try after another
		want error
	}{
		"transient": {errs: []error{serialization, serialization, nil}},
		"permanent": {errs: []error{syntax}, want: syntax},
	} {
		tries := 0
		err := client.retry(t.Context(), func() error {
			tries++

			return c.errs[tries-1]
		})
		if !errors.Is(err, c.want) || tries != len(c.errs) {
			t.Errorf("%s: %v after %d tries", name, err, tries)
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	err := client.retry(ctx, func() error {
		cancel()

		return serialization
	})
	if !errors.Is(err, context.Canceled) || !errors.Is(err, serialization) {
		t.Error(err)
	}
}

// What the figures say is told only where there is something to do.
func TestAdvice(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 10, 0, 0, 0, 0, time.UTC)
	before := func(d time.Duration) *time.Time {
		at := now.Add(-d)

		return &at
	}
	of := func(retention, oldest time.Duration) []ConsumerStatus {
		return []ConsumerStatus{{Consumer: "orders", Expired: 3, Oldest: before(oldest), Retention: Seconds(retention)}}
	}
	for name, c := range map[string]struct {
		health    TableHealth
		consumers []ConsumerStatus
		want      string
	}{
		"all is well":                {health: TableHealth{LiveRows: 1e6, DeadRows: 5e4}},
		"few rows":                   {health: TableHealth{LiveRows: 10, DeadRows: 9_000}},
		"vacuum is about to come":    {health: TableHealth{LiveRows: 1e6, DeadRows: 4e5, LastAutovacuum: before(time.Minute)}},
		"no vacuum":                  {health: TableHealth{LiveRows: 6e6, DeadRows: 4e6}, want: "40% of the rows are dead, and the table was never vacuumed (or statistics were reset):"},
		"none for long":              {health: TableHealth{LiveRows: 6e6, DeadRows: 4e6, LastAutovacuum: before(90 * readable.Day), LastVacuum: before(2 * readable.Day)}, want: "40% of the rows are dead, and the last vacuum was 2d ago:"},
		"vacuum is held up":          {health: TableHealth{LiveRows: 4e6, DeadRows: 6e6, LastAutovacuum: before(time.Minute)}, want: "60% of the rows are dead although a vacuum ended 1m ago:"},
		"the cleaner will come":      {consumers: of(7*readable.Day, 7*readable.Day+time.Hour)},
		"no cleaner":                 {consumers: of(7*readable.Day, 10*readable.Day), want: `3 events of orders should be forgotten, the oldest since 3d: run a Cleaner`},
		"room that is used again":    {health: TableHealth{UnusedBytes: 2 << 30, BytesPerEvent: 300, PackedBytesPerEvent: 128}},
		"room after a great cleanup": {health: TableHealth{UnusedBytes: 2 << 30, BytesPerEvent: 3000, PackedBytesPerEvent: 128}, want: "2.0 GiB are unused."},
	} {
		advice := Status{TableHealth: c.health, Consumers: c.consumers, ReadAt: now}.advise()
		if c.want == "" && len(advice) > 0 || c.want != "" && (len(advice) != 1 || !strings.HasPrefix(advice[0], c.want)) {
			t.Errorf("%s: %q, want %q", name, advice, c.want)
		}
	}
}

func TestVersionReachedByPart(t *testing.T) {
	t.Parallel()
	now := time.Now()
	before := []Migration{{Version: 1, AppliedAt: &now}, {Version: 2}, {Version: 3}}
	if got := reached(before, []migrate.Migration{{Version: 2, AppliedAt: now}}); got != 2 {
		t.Errorf("up to %d", got)
	}
	if got := reached(before, []migrate.Migration{{Version: 1}}); got != 0 {
		t.Errorf("down to %d", got)
	}
}

func TestSecondsAreNumbers(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{0: "0", 7 * readable.Day: "604800", 1500 * time.Millisecond: "1.5", 100000 * readable.Day: "8640000000"} {
		if got, err := json.Marshal(Seconds(d)); err != nil || string(got) != want {
			t.Errorf("%v: %s, %v", d, got, err)
		}
		var back Seconds
		if err := json.Unmarshal([]byte(want), &back); err != nil || back.Duration() != d {
			t.Errorf("%s comes back as %v, %v", want, back.Duration(), err)
		}
	}
}

package cli

import (
	"testing"
	"testing/quick"
	"time"

	"github.com/nova-events/idempotent-consumer/internal/readable"
)

func TestDurations(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"7d": 7 * readable.Day, "1d12h": 36 * time.Hour, "36h": 36 * time.Hour, "90m": 90 * time.Minute, "10m": 10 * time.Minute,
		"0d5s": 5 * time.Second, "1h0m30s": time.Hour + 30*time.Second, "106750d": 106750 * readable.Day, "20h": 20 * time.Hour,
	} {
		got, err := parseDuration(text)
		if err != nil || got != want {
			t.Errorf("parseDuration(%q) = %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "7", "d", "d5h", "-7d", "-1h", "0s", "0d", "1d-1h", "1.5d", "1w", "7d7", "200000d", "106750d100000h", "99999999999999d", "7 d"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("parseDuration(%q) = %v", text, got)
		}
	}
	readBack := func(n uint32) bool {
		d := time.Duration(n)*time.Second + time.Microsecond
		got, err := parseDuration(readable.Duration(d))

		return err == nil && got == d
	}
	if err := quick.Check(readBack, nil); err != nil {
		t.Error(err)
	}
}

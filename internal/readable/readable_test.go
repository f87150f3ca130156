package readable_test

import (
	"testing"
	"time"

	"github.com/nova-events/idempotent-consumer/internal/readable"
)

func TestNumbers(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "-1,234"} {
		if got := readable.Number(n); got != want {
			t.Errorf("Number(%d) = %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 5 << 30: "5.0 GiB"} {
		if got := readable.Size(n); got != want {
			t.Errorf("Size(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestDurations(t *testing.T) {
	t.Parallel()
	for want, d := range map[string]time.Duration{
		"7d": 7 * readable.Day, "1d12h": 36 * time.Hour, "1h": time.Hour, "1h30m": 90 * time.Minute, "10m": 10 * time.Minute,
		"20h0m1s": 20*time.Hour + time.Second, "0s": 0, "1.5s": 1500 * time.Millisecond, "-1h": -time.Hour,
	} {
		if got := readable.Duration(d); got != want {
			t.Errorf("Duration(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestAgo(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for want, d := range map[string]time.Duration{
		"12d ago": 12*readable.Day + 5*time.Hour, "2d5h ago": 2*readable.Day + 5*time.Hour + time.Minute, "5h1m ago": 5*time.Hour + time.Minute + time.Second,
		"59s ago": 59*time.Second + 500*time.Millisecond, "in 7d": -7 * readable.Day,
	} {
		if got := readable.Ago(now.Add(-d), now); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

func TestUnprintableCharactersAreQuoted(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"4711": "4711", "Ünïcode Ωμέγα": "Ünïcode Ωμέγα", "": `""`, "a\nb": `"a\nb"`, "\x1b[31m": `"\x1b[31m"`, `"quoted"`: `"\"quoted\""`,
		" space": `" space"`, "c1 \u009b": `"c1 \u009b"`, "bidi \u202e": `"bidi \u202e"`, "del\x7f": `"del\x7f"`,
	} {
		if got := readable.Name(text); got != want {
			t.Errorf("Name(%q) = %s, want %s", text, got, want)
		}
	}
}

func TestShellWords(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]string{"orders": "orders", "a b": "'a b'", "it's": `'it'\''s'`, "-x": "'-x'", "": "''"} {
		if got := readable.ShellWord(word); got != want {
			t.Errorf("ShellWord(%q) = %s, want %s", word, got, want)
		}
	}
}

package cli

import (
	"encoding/json"
	"testing"
	"testing/quick"
	"time"
)

func TestNumbers(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "-1,234"} {
		if got := number(n); got != want {
			t.Errorf("number(%d) = %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 5 << 30: "5.0 GiB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestDurations(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"7d": 7 * day, "1d12h": 36 * time.Hour, "36h": 36 * time.Hour, "90m": 90 * time.Minute, "10m": 10 * time.Minute,
		"0d5s": 5 * time.Second, "1h0m30s": time.Hour + 30*time.Second, "106750d": 106750 * day, "20h": 20 * time.Hour,
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
	for want, d := range map[string]time.Duration{
		"7d": 7 * day, "1d12h": 36 * time.Hour, "1h": time.Hour, "1h30m": 90 * time.Minute, "10m": 10 * time.Minute,
		"20h0m1s": 20*time.Hour + time.Second, "0s": 0, "1.5s": 1500 * time.Millisecond, "-1h": -time.Hour,
	} {
		if got := duration(d); got != want {
			t.Errorf("duration(%v) = %q, want %q", d, got, want)
		}
	}
	readBack := func(n uint32) bool {
		d := time.Duration(n)*time.Second + time.Microsecond
		got, err := parseDuration(duration(d))

		return err == nil && got == d
	}
	if err := quick.Check(readBack, nil); err != nil {
		t.Error(err)
	}
}

func TestAgo(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for want, d := range map[string]time.Duration{
		"12d ago": 12*day + 5*time.Hour, "2d5h ago": 2*day + 5*time.Hour + time.Minute, "5h1m ago": 5*time.Hour + time.Minute + time.Second,
		"59s ago": 59*time.Second + 500*time.Millisecond, "in 7d": -7 * day,
	} {
		if got := ago(now.Add(-d), now); got != want {
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
		if got := printable(text); got != want {
			t.Errorf("printable(%q) = %s, want %s", text, got, want)
		}
	}
	if got := escapeLines("a\n\tb\x1b\u009b\u202e"); got != "a\n\tb\\x1b\\u009b\\u202e" {
		t.Errorf("escapeLines: %q", got)
	}
}

func TestEscapedJSONMeansTheSame(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"plain", "\x1b\x7f\u009b\u202e\n", "\U000e0001 tag", "Ωμέγα"} {
		document, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		escaped := escapeJSON(string(document))
		for _, r := range escaped {
			if unprintable(r) {
				t.Errorf("%q is printed as %q", text, escaped)
			}
		}
		var got string
		if err := json.Unmarshal([]byte(escaped), &got); err != nil || got != text {
			t.Errorf("%q comes back as %q, %v", text, got, err)
		}
	}
}

func TestShellWords(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]string{"orders": "orders", "a b": "'a b'", "it's": `'it'\''s'`, "-x": "'-x'", "": "''"} {
		if got := shellWord(word); got != want {
			t.Errorf("shellWord(%q) = %s, want %s", word, got, want)
		}
	}
}

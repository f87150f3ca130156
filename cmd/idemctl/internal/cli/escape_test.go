package cli

import (
	"encoding/json"
	"testing"

	"github.com/nova-events/idempotent-consumer/internal/readable"
)

func TestEscapedLinesSteerNoTerminal(t *testing.T) {
	t.Parallel()
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
			if readable.Unprintable(r) {
				t.Errorf("%q is printed as %q", text, escaped)
			}
		}
		var got string
		if err := json.Unmarshal([]byte(escaped), &got); err != nil || got != text {
			t.Errorf("%q comes back as %q, %v", text, got, err)
		}
	}
}

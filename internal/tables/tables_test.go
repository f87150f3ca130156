package tables

import (
	"strings"
	"testing"
)

func TestText(t *testing.T) {
	t.Parallel()
	longest := strings.Repeat("a", maxTextBytes)
	for _, c := range []struct {
		given, clean string
		isText       bool
	}{
		{"", "", true},
		{"ä", "ä", true},
		{"a\x00b", "a\uFFFDb", false},
		{"a\xffb", "a\uFFFDb", false},
		{longest, longest, true},
		{longest + "a", longest + "…", true},
		{longest[1:] + "ä", longest[1:] + "\uFFFD…", true},
	} {
		if got := CleanText(c.given); got != c.clean {
			t.Errorf("of %d bytes, %.5q…: got %d bytes, %.5q…", len(c.given), c.given, len(got), got)
		}
		if got := IsText(c.given); got != c.isText {
			t.Errorf("%.5q… is text: %v", c.given, got)
		}
	}
}

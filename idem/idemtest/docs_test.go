package idemtest_test

import (
	"os"
	"strings"
	"testing"
)

// What docs/testing.md shows of the examples is what they are, and what they print.
func TestDocsShowTheExamples(t *testing.T) {
	t.Parallel()
	examples := unindented(t, "example_test.go")
	shown := 0
	_, section, found := strings.Cut(unindented(t, "../../docs/testing.md"), "\n## Three that are wrong\n")
	section, _, closed := strings.Cut(section, "\n## ")
	if !found || !closed {
		t.Fatal("docs/testing.md has no such section")
	}
	for i, block := range strings.Split(section, "```") {
		if code, isCode := strings.CutPrefix(block, "go\n"); isCode && i%2 == 1 {
			for part := range strings.SplitSeq(code, "\n\nreturn idemtest.") { // Something is left out before.
				shown++
				if !strings.Contains(examples, part) {
					t.Errorf("the examples do not have\n%s", part)
				}
			}
		}
	}
	for line := range strings.Lines(section) {
		if strings.HasPrefix(line, "idemtest: ") {
			shown++
			if !strings.Contains(examples, "// "+line) {
				t.Errorf("the examples do not print %s", line)
			}
		}
	}
	if shown != 8 {
		t.Errorf("%d pieces are compared, want 8", shown)
	}
}

// unindented is a file's text without the blanks at the beginnings of lines.
func unindented(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path) //nolint:gosec // The paths are above.
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for line := range strings.Lines(string(content)) {
		text.WriteString(strings.TrimLeft(line, " \t"))
	}

	return text.String()
}

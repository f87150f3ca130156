//go:build verify

package verify_test

import (
	"bytes"
	"strings"
	"testing"
)

// longFile is the number of lines from which a file deserves to be looked at.
const longFile = 450

func TestFormat(t *testing.T) {
	t.Parallel()
	if unformatted := run(t, root, "Mend the syntax.", nil, "gofmt", "-l", "."); unformatted != "" {
		t.Errorf("run \"gofmt -w\" on:\n%s", unformatted)
	}
}

// TestFileLength only warns: length is a hint that a file may have more than one idea.
func TestFileLength(t *testing.T) {
	t.Parallel()
	for _, file := range files(t, ".go") {
		lines := bytes.Count(read(t, file), []byte("\n"))
		if lines > longFile && !strings.HasPrefix(file, root+"/db/") && !strings.HasPrefix(file, root+"/idemsql/ormtest/ent/") {
			t.Logf("warning: %s has %d lines: does it have one idea?", file, lines)
		}
	}
}

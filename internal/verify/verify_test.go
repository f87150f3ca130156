//go:build verify

// Package verify checks what neither the compiler nor the other tests can: that generated
// code is current, that packages import only what they may, that modules are tidy. Every
// failure says what to do. "make verify" runs it.
package verify_test

import (
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// root is the folder of the root module.
const root = "../.."

func TestMain(m *testing.M) { pgtest.Main(m) }

// run runs a program in a folder, with additional variables in its environment, and returns
// what it printed. If it fails, so does the test; advice says what to do then.
func run(t *testing.T, folder, advice string, environment []string, program string, args ...string) string {
	t.Helper()
	var stdout, stderr strings.Builder
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = folder
	cmd.Env = append(cmd.Environ(), environment...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Errorf("%s\n%s: %v\n%s%s", advice, cmd, err, &stdout, &stderr)
	}

	return stdout.String()
}

// files are the paths of the repository's files whose names end in suffix.
func files(t *testing.T, suffix string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && path != root:
			return fs.SkipDir
		case strings.HasSuffix(path, suffix):
			found = append(found, path)
		}

		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	return found
}

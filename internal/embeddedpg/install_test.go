package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Several at once, from a cache in which somebody was killed at work.
func TestInstall(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	torn := filepath.Join(cache, "staging", "postgresql", "bin", "postgres")
	if err := os.MkdirAll(torn, 0o750); err != nil {
		t.Fatal(err)
	}

	var processes sync.WaitGroup
	for range 3 {
		processes.Go(func() {
			bin, err := install(t.Context(), cache, versions[defaultMajor], "")
			if err != nil {
				t.Error(err)

				return
			}
			for _, program := range []string{"postgres", "initdb"} {
				output, err := exec.CommandContext(t.Context(), filepath.Join(bin, program), "--version").CombinedOutput()
				if err != nil || !strings.Contains(string(output), "(PostgreSQL) 17.") {
					t.Errorf("%s --version: %v: %s", program, err, output)
				}
			}
		})
	}
	processes.Wait()
	if _, err := os.Stat(filepath.Join(cache, "staging")); !os.IsNotExist(err) {
		t.Errorf("the staging folder: %v, want not exist", err)
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"13"}, {""}, {"17.5"}, {"14", "15"}} {
		if bin, err := run(t.Context(), args); err == nil || err.Error() != "usage: embeddedpg [14|15|16|17|18]" {
			t.Errorf("%q: %q, %v", args, bin, err)
		}
	}
}

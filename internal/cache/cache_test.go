package cache

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// writeProgram fills a folder in the way of a process with a strict umask.
func writeProgram(folder string) error {
	if err := os.Mkdir(filepath.Join(folder, "bin"), 0o700); err != nil {
		return err
	}

	return os.WriteFile(filepath.Join(folder, "bin", "program"), nil, 0o700) //nolint:gosec // It is a program.
}

// Several at once, in a cache in which somebody was killed at work.
func TestOneFillsAndTheOthersWait(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	if err := os.MkdirAll(filepath.Join(cache, "server.staging", "torn"), 0o700); err != nil {
		t.Fatal(err)
	}

	var (
		processes sync.WaitGroup
		fills     atomic.Int64
	)
	for range 8 {
		processes.Go(func() {
			folder, err := install(t.Context(), cache, "server", func(folder string) error {
				fills.Add(1)

				return writeProgram(folder)
			})
			if err != nil {
				t.Error(err)

				return
			}
			info, err := os.Stat(filepath.Join(folder, "bin", "program"))
			if err != nil || info.Mode().Perm() != 0o755 {
				t.Errorf("the program: %v, %v, want one that everybody can run", info, err)
			}
		})
	}
	processes.Wait()
	if n := fills.Load(); n != 1 {
		t.Errorf("filled %d times, want once", n)
	}
	if _, err := os.Stat(filepath.Join(cache, "server", "torn")); !os.IsNotExist(err) {
		t.Errorf("a file of the killed process: %v, want not exist", err)
	}
}

func TestFailureLeavesNothingAndIsNotRemembered(t *testing.T) {
	t.Parallel()
	cache, failure := t.TempDir(), errors.New("no network")
	_, err := install(t.Context(), cache, "server", func(folder string) error {
		return errors.Join(writeProgram(folder), failure)
	})
	if !errors.Is(err, failure) {
		t.Errorf("error = %v, want %v", err, failure)
	}
	if left, err := filepath.Glob(filepath.Join(cache, "server*", "*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if _, err := install(t.Context(), cache, "server", writeProgram); err != nil {
		t.Errorf("the next attempt: %v", err)
	}
}

func TestWaitingEndsWithItsContext(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	_, err := install(t.Context(), cache, "server", func(string) error {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := install(ctx, cache, "server", writeProgram)

		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want %v", err, context.Canceled)
	}
}

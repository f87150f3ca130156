package e2e_test

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// usage is what a worker takes of its machine.
type usage struct {
	Goroutines int           `json:"goroutines"`
	CPU        time.Duration `json:"cpu"` // since its start
}

// askUsage is the request for a usage.
const askUsage = "usage"

// answer answers a worker's requests until its input ends.
func answer(requests io.Reader) {
	lines := bufio.NewScanner(requests)
	for lines.Scan() {
		if lines.Text() == askUsage {
			_ = json.NewEncoder(os.Stdout).Encode(currentUsage()) //nolint:errchkjson // A test that does not get it fails.
		}
	}
}

func currentUsage() usage {
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used) // It fails only for bad arguments.

	return usage{
		Goroutines: runtime.NumGoroutine(),
		CPU:        time.Duration(used.Utime.Nano() + used.Stime.Nano()),
	}
}

// usage asks a worker.
func (w *worker) usage(t *testing.T) (u usage) {
	t.Helper()
	if _, err := io.WriteString(w.input, askUsage+"\n"); err != nil {
		t.Fatal(err)
	}
	line, err := w.output.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &u)
	}
	if err != nil {
		t.Fatalf("a worker does not tell its usage: %v", err)
	}

	return u
}

// startMeasured starts a worker of such a program. If the test fails, it shows what the worker complained of.
func (s *bench) startMeasured(t *testing.T, program string, j job) *worker {
	t.Helper()
	w := s.startJobOf(t, program, j)
	t.Cleanup(func() {
		if t.Failed() && w.command.ProcessState == nil {
			_ = w.input.Close()
			_ = w.command.Wait() // The test has failed already.
			messages := w.messages.String()
			t.Logf("the worker said:\n%s", messages[:min(len(messages), 5000)])
		}
	})

	return w
}

// buildWorker builds this program without the race detector, for tests that measure what a worker takes.
func buildWorker(t *testing.T) (program string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), "worker")
	if output, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build a worker: %v\n%s", err, output)
	}

	return program
}

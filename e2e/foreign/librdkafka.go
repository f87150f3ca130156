package foreign

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

var errNoCompiler = errors.New("no C compiler, which librdkafka needs: install gcc")

// Librdkafka returns a client with those assignors ("range", "cooperative-sticky"). It ends with the test.
func Librdkafka(t testing.TB, assignors ...string) Client {
	t.Helper()
	program := filepath.Join(t.TempDir(), "librdkafkamember")
	skipWithout(t, buildLibrdkafka(t.Context(), program), errNoCompiler)

	return func(t testing.TB, config Config) Member {
		t.Helper()

		return startProcess(t, config, strings.Join(assignors, ","), func(ctx context.Context, args ...string) *exec.Cmd {
			return exec.CommandContext(ctx, program, args...)
		})
	}
}

func buildLibrdkafka(ctx context.Context, program string) error {
	if enabled, err := exec.CommandContext(ctx, "go", "env", "CGO_ENABLED").Output(); err != nil || strings.TrimSpace(string(enabled)) != "1" {
		return errors.Join(errNoCompiler, err)
	}
	_, source, _, _ := runtime.Caller(0) //nolint:dogsled // Only the file is of interest.
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, ".")
	cmd.Dir = filepath.Join(filepath.Dir(source), "..", "..", "internal", "librdkafkamember")
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if output, err := cmd.CombinedOutput(); err != nil {
		return errors.Join(errors.New("build the member: "+string(output)), err)
	}

	return nil
}

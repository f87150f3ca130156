package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// The clock of a worker is stepped, as NTP or an operator does it: what time.Now tells, not the monotonic clock. The Go
// runtime asks the kernel itself, so that no library can come between, and a time namespace moves no wall clock. So the worker is built with
// another package time.

const stepClock = "clock step of a worker"

// step steps this process's clock where it can be stepped.
var step = func(time.Duration) {}

func (n *nemesis) stepClock(_ context.Context, f fault) error {
	m := n.fleet.pick(f.pick, 0)
	if m == nil {
		return errNothing
	}
	furthest := []time.Duration{5 * time.Second, 10 * time.Minute, 30 * time.Hour, 400 * 24 * time.Hour}[f.pick>>8%4]

	return m.order(order{Step: f.between(-furthest, furthest).Truncate(time.Second)})
}

// steppedTime adds a package time that can be stepped to an overlay for go build.
func steppedTime(ctx context.Context, folder string, overlay map[string]string) error {
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("where is Go: %w", err)
	}
	source := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	text, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	for _, change := range [][2]string{
		{"import (\n", "import (\n\t\"sync/atomic\"\n"},
		{"\tsec, nsec, mono := runtimeNow()\n", "\tsec, nsec, mono := runtimeNow()\n\tsec += stepped.Load()\n"},
	} {
		if text, err = replace(text, change[0], change[1]); err != nil {
			return fmt.Errorf("-clocks does not know this %s: %w", source, err)
		}
	}
	text = append(text, "\nvar stepped atomic.Int64\n\n// Step steps the wall clock.\nfunc Step(d Duration) { stepped.Add(int64(d / Second)) }\n"...)
	overlay[source] = filepath.Join(folder, "time.go")

	return os.WriteFile(overlay[source], text, 0o600)
}

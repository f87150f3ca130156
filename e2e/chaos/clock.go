package main

import (
	"bytes"
	"context"
	"encoding/json"
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

// order is what a worker is told while it runs.
type order struct {
	Step time.Duration `json:"step"` // of its clock, in seconds
}

// step steps this process's clock where it can be stepped.
var step = func(time.Duration) {}

// obey does what it is told until there is nobody to tell.
func obey(orders *json.Decoder) {
	for {
		var o order
		if orders.Decode(&o) != nil {
			return
		}
		step(o.Step)
	}
}

func (n *nemesis) stepClock(_ context.Context, f fault) error {
	m := n.fleet.pick(f.pick, 0)
	if m == nil {
		return errNothing
	}
	furthest := []time.Duration{5 * time.Second, 10 * time.Minute, 30 * time.Hour, 400 * 24 * time.Hour}[f.pick>>8%4]

	return json.NewEncoder(m.input).Encode(order{f.between(-furthest, furthest).Truncate(time.Second)})
}

// build returns the program of the workers: this one, or one whose clock can be stepped.
func (s settings) build(ctx context.Context, folder string) (string, error) {
	if !s.clocks {
		return os.Executable()
	}
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("where is Go: %w", err)
	}
	source := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	text, err := os.ReadFile(source)
	if err != nil {
		return "", err
	}
	for _, change := range [][2]string{
		{"import (\n", "import (\n\t\"sync/atomic\"\n"},
		{"\tsec, nsec, mono := runtimeNow()\n", "\tsec, nsec, mono := runtimeNow()\n\tsec += stepped.Load()\n"},
	} {
		before, after := []byte(change[0]), []byte(change[1])
		if bytes.Count(text, before) != 1 {
			return "", fmt.Errorf("-clocks does not know this %s: %q is not in it once", source, before)
		}
		text = bytes.Replace(text, before, after, 1)
	}
	text = append(text, "\nvar stepped atomic.Int64\n\n// Step steps the wall clock.\nfunc Step(d Duration) { stepped.Add(int64(d / Second)) }\n"...)
	other, overlay, program := filepath.Join(folder, "time.go"), filepath.Join(folder, "overlay.json"), filepath.Join(folder, "worker")
	if err := os.WriteFile(other, text, 0o600); err != nil {
		return "", err
	}
	if err := writeJSON(overlay, map[string]map[string]string{"Replace": {source: other}}); err != nil {
		return "", err
	}
	command := exec.CommandContext(ctx, "go", "build", "-overlay="+overlay, "-tags=clocks", "-o="+program, "./chaos")
	if said, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build a worker whose clock can be stepped: %w\n%s", err, said)
	}

	return program, nil
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

const (
	// envPatience shortens how long the tests wait for what must happen, because a mutant often keeps it
	// from happening.
	envPatience = "IDEM_TEST_PATIENCE"
	patience    = "15s"

	envAdapter = "IDEM_TEST_ADAPTER"

	buildLimit = 10 * time.Minute

	// grace is for a test that prints where it hangs, and for what a killed one leaves.
	grace = 10 * time.Second
)

// runner builds and runs checkers.
type runner struct {
	root  string        // absolute
	limit time.Duration // of a run, without its build
}

var errNotBuilt = errors.New("it does not compile")

// build makes the tests of a package into a program.
func (r runner) build(ctx context.Context, c checker, program string, flags ...string) error {
	args := append([]string{"test", "-c", "-o", program}, flags...)
	if c.tags != "" {
		args = append(args, "-tags="+c.tags)
	}
	limited, cancel := context.WithTimeout(ctx, buildLimit)
	defer cancel()
	cmd := exec.CommandContext(limited, "go", append(args, ".")...)
	cmd.Dir = filepath.Join(r.root, c.pkg)
	output, err := inGroup(cmd)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("%w: %w\n%s", errNotBuilt, err, output)
	}

	return nil
}

// run runs such a program and returns what it printed. The error says that its tests failed.
func (r runner) run(ctx context.Context, c checker, program string, environment []string, flags ...string) (string, error) {
	limited, cancel := context.WithTimeout(ctx, r.limit+grace)
	defer cancel()
	flags = append([]string{"-test.run=" + c.run, "-test.count=1", "-test.timeout=" + r.limit.String()}, flags...)
	cmd := exec.CommandContext(limited, program, flags...)
	cmd.Dir = filepath.Join(r.root, c.pkg)
	cmd.Env = append(os.Environ(), environment...)
	if c.adapter != "" {
		cmd.Env = append(cmd.Env, envAdapter+"="+c.adapter)
	}
	output, err := inGroup(cmd)
	switch {
	case ctx.Err() != nil:
		return output, ctx.Err()
	case err == nil && strings.Contains(output, "testing: warning: no tests to run"):
		err = errors.New("there are no such tests")
	}

	return output, err
}

// inGroup runs a command in a process group of its own and ends all of that with it.
func inGroup(cmd *exec.Cmd) (string, error) {
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = grace
	if err := cmd.Start(); err != nil {
		return "", err
	}
	err := cmd.Wait()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // Fails if nobody is left.

	return output.String(), err
}

// result is what became of a mutant.
type result struct {
	ID        string  `json:"id"`
	Mechanism string  `json:"mechanism"`
	Checker   string  `json:"checker"`
	Found     bool    `json:"found"`
	Said      string  `json:"said"`    // by the checker, or why the mutant does not count as found
	Seconds   float64 `json:"seconds"` // that the checker took, without its build
}

// try has the checker of a mutant look for it.
func (r runner) try(ctx context.Context, m mutant) (result, error) {
	res := result{ID: m.id, Mechanism: m.mechanism, Checker: m.checker.String()}
	folder, err := os.MkdirTemp("", "idem-mutant-")
	if err != nil {
		return res, err
	}
	defer os.RemoveAll(folder) //nolint:errcheck // It is in the system's folder for temporary files.
	overlay, err := m.overlay(r.root, folder)
	if err != nil {
		res.Said = "outdated: " + err.Error()

		return res, nil
	}
	program := filepath.Join(folder, "checker.test")
	err = r.build(ctx, m.checker, program, "-overlay="+overlay)
	if err != nil {
		res.Said = err.Error()

		return res, ctx.Err()
	}
	if m.limit > 0 {
		r.limit = m.limit
	}
	began := time.Now()
	// Those that run the go command themselves get the mutant, too.
	goflags := "GOFLAGS=" + strings.TrimSpace(os.Getenv("GOFLAGS")+" -overlay="+overlay)
	output, err := r.run(ctx, m.checker, program, []string{goflags, envPatience + "=" + patience})
	res.Seconds = time.Since(began).Seconds()
	line, said := lineWith(output, m.says)
	switch {
	case ctx.Err() != nil:
		return res, ctx.Err()
	case err == nil:
		res.Said = "survived: the checker passes"
	case !said:
		res.Said = fmt.Sprintf("failed without saying %q: %v\n%s", m.says, err, tail(output))
	default:
		res.Found, res.Said = true, line
	}

	return res, nil
}

// source is the place in the source that a test's message begins with.
var source = regexp.MustCompile(`^\w+\.go:\d+: `)

// lineWith returns the line of the output in which words begin, without the place of the source. Of a line that
// says only which test has failed it returns the first message behind it.
func lineWith(output, words string) (string, bool) {
	before, _, found := strings.Cut(output, words)
	if !found {
		return "", false
	}
	for line := range strings.Lines(output[strings.LastIndex(before, "\n")+1:]) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "--- FAIL") {
			return source.ReplaceAllString(line, ""), true
		}
	}

	return words, true
}

// tail is the end of a long output.
func tail(output string) string {
	const most = 4 << 10
	if len(output) > most {
		return "…" + output[len(output)-most:]
	}

	return output
}

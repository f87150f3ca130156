package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

const (
	// startTimeout is how long a server may take to become ready, after a crash too.
	startTimeout = 3 * time.Minute
	pollInterval = 10 * time.Millisecond

	// stopTimeout is how long a process may take to stop before it is killed.
	stopTimeout = 10 * time.Second

	// logTail is how many bytes of a log or an output are quoted in an error.
	logTail = 4 << 10
)

// launch becomes the program after it has left the watchdog's arguments for kill, so that
// there is no moment in which the program runs unwatched.
const launch = `echo "-$1 $$" >"$0" && shift && exec "$@"`

// Process is a server program that runs in a Home.
type Process struct {
	cmd     *exec.Cmd
	logPath string
	pidPath string
	done    chan struct{} // closed when it has ended
}

// Start starts a server program and waits until the function ready, which is called again
// and again, returns no error. What the program writes goes to the file name.log of the
// folder; the error of one that does not become ready holds the end of it.
func (h *Home) Start(ctx context.Context, ready func(context.Context) error, name, program string, args ...string) (*Process, error) {
	p, err := h.start(name, program, args)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w%s", program, err, h.hint(err))
	}
	if err := p.await(ctx, ready); err != nil {
		p.Stop(h.LastSignal)

		return nil, fmt.Errorf("%s %w; its log ends with:\n%s", program, err, p.log())
	}

	return p, nil
}

func (h *Home) start(name, program string, args []string) (*Process, error) {
	p := &Process{logPath: h.Path(name + ".log"), pidPath: h.Path(name + ".pid"), done: make(chan struct{})}
	log, err := os.OpenFile(p.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open its log: %w", err)
	}
	defer log.Close() //nolint:errcheck // The process has its own copy.

	args = append([]string{"-c", launch, p.pidPath, strconv.Itoa(int(h.LastSignal)), program}, args...)
	p.cmd = exec.Command("/bin/sh", args...) //nolint:noctx // Stop ends it.
	h.confine(p.cmd)
	// A file, not this process's own stdout: go test waits until nobody has that open.
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // The log tells why it ended.
		_ = os.Remove(p.pidPath)
	}()

	return p, nil
}

func (p *Process) await(ctx context.Context, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()

	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-poll.C:
		case <-p.done:
			return errors.New("ended at once")
		case <-ctx.Done():
			return fmt.Errorf("did not become ready (%w): %w", context.Cause(ctx), err)
		}
	}
}

// log is the end of what the process wrote.
func (p *Process) log() string {
	log, err := os.ReadFile(p.logPath)
	if err != nil {
		return err.Error()
	}

	return tail(log)
}

// Stop sends the signal and waits until the process has ended. One that does not end within
// 10 seconds is killed.
func (p *Process) Stop(signal syscall.Signal) {
	timeout := time.NewTimer(stopTimeout)
	defer timeout.Stop()

	_ = p.cmd.Process.Signal(signal) // Fails if it has ended already.
	select {
	case <-p.done:
	case <-timeout.C:
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

func tail(text []byte) string { return string(text[max(0, len(text)-logTail):]) }

package daemon

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

const (
	// stopTimeout is how long a process may take to stop before it is killed.
	stopTimeout = 10 * time.Second

	// logTail is how many bytes of a log or an output are quoted in an error.
	logTail = 4 << 10
)

// launch becomes the program after it has left its process id for the watchdog, so that
// there is no moment in which the program runs unwatched.
const launch = `echo $$ >"$0" && exec "$@"`

// Process is a server program that runs in a Home.
type Process struct {
	cmd     *exec.Cmd
	logPath string
	pidPath string
	done    chan struct{}
}

// Start starts a program that writes its output to the file name.log of the folder.
func (h *Home) Start(name, program string, args ...string) (*Process, error) {
	p := &Process{logPath: h.Path(name + ".log"), pidPath: h.Path(name + ".pid"), done: make(chan struct{})}

	log, err := os.OpenFile(p.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the server's log: %w", err)
	}
	defer log.Close() //nolint:errcheck // The process has its own copy.

	p.cmd = exec.Command("/bin/sh", append([]string{"-c", launch, p.pidPath, program}, args...)...)
	h.confine(p.cmd)
	// A file, not this process's own stdout: go test waits until the last holder of that ends.
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w%s", program, err, h.hint(err))
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // The log tells why it ended.
		_ = os.Remove(p.pidPath)
	}()

	return p, nil
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Log is the end of what the process wrote.
func (p *Process) Log() string {
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

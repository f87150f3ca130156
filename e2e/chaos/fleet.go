package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// fleet are the workers.
type fleet struct {
	plan   plan
	stack  *stack
	folder string

	programs programs
	sayf     func(format string, args ...any)

	mu       sync.Mutex
	protocol string
	started  int
	workers  []*member
	surprise map[string]int // workers that ended by themselves, by their last words
	closed   bool           // nobody starts for now
	rollsOut bool           // those that start may be of the next release
	stopping bool
	running  sync.WaitGroup
}

// member is a worker as we see it.
type member struct {
	job     job
	command *exec.Cmd
	input   io.WriteCloser
	ended   chan struct{} // closed when it has
	asked   bool          // to end, or killed
}

// start starts one more worker.
func (f *fleet) start(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopping || f.closed {
		return nil
	}
	f.started++
	c := f.plan.character(f.started, f.protocol)
	c.Next = c.Next && f.rollsOut
	program := f.programs.this
	if c.Next {
		program = f.programs.next
	}
	m := &member{ended: make(chan struct{}), job: job{
		character: c, promise: f.plan.promise, Name: fmt.Sprintf("worker-%d", f.started),
		DSN: f.stack.dsn, Brokers: f.stack.brokers, Folder: f.folder, Provider: f.stack.provider.url,
	}}
	log, err := os.Create(filepath.Join(f.folder, m.job.Name+".log"))
	if err != nil {
		return err
	}
	defer log.Close()                                                    //nolint:errcheck // The worker has its own copy.
	m.command = exec.Command(program)                                    //nolint:noctx // The fleet ends it.
	m.command.Env = append(os.Environ(), envWorker+"=1", "GOMAXPROCS=1") // They share the machine.
	m.command.Stdout, m.command.Stderr = log, log
	m.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // The terminal's ^C is for us.
	input, err := m.command.StdinPipe()
	if err != nil {
		return err
	}
	m.input = input
	if err := m.command.Start(); err != nil {
		return err
	}
	f.workers = append(f.workers, m)
	f.sayf("%s: %v", m.job.Name, m.job.character)
	f.running.Go(func() { f.await(ctx, m) })

	return json.NewEncoder(input).Encode(m.job)
}

// await takes a worker that has ended off the list. One that ended by itself is started again, as a supervisor does.
func (f *fleet) await(ctx context.Context, m *member) {
	err := m.command.Wait()
	close(m.ended)
	f.mu.Lock()
	for i, other := range f.workers {
		if other == m {
			f.workers = append(f.workers[:i:i], f.workers[i+1:]...)

			break
		}
	}
	surprise := !m.asked
	if surprise {
		words := lastLine(filepath.Join(f.folder, m.job.Name+".log"))
		f.surprise[words]++
		f.sayf("%s ended by itself: %v: %s", m.job.Name, err, words)
	}
	f.mu.Unlock()
	if surprise {
		wait(ctx, time.Second) // It would end again at once.
		if err := f.fill(ctx); err != nil {
			f.sayf("start a worker: %v", err)
		}
	}
}

func lastLine(name string) string {
	text, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")

	return lines[len(lines)-1]
}

// pick chooses a worker, or returns nil if fewer than that many would be left.
func (f *fleet) pick(pick uint64, left int) *member {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.workers) <= left {
		return nil
	}

	return f.workers[pick%uint64(len(f.workers))]
}

func (f *fleet) size() int {
	f.mu.Lock()
	defer f.mu.Unlock()

	return len(f.workers)
}

// end ends a worker by a signal and waits for that.
func (f *fleet) end(ctx context.Context, m *member, signal syscall.Signal) {
	f.mu.Lock()
	m.asked = true
	f.mu.Unlock()
	_ = m.command.Process.Signal(signal) // It may have ended.
	if signal != syscall.SIGKILL {
		_ = m.command.Process.Signal(syscall.SIGCONT)
	}
	select {
	case <-m.ended:
	case <-time.After(time.Minute):
		f.sayf("%s does not end: killed", m.job.Name)
		_ = m.command.Process.Kill()
		<-m.ended
	case <-ctx.Done():
	}
}

// freeze stops a worker for a while, or until the context ends.
func (f *fleet) freeze(ctx context.Context, m *member, long time.Duration) {
	_ = m.command.Process.Signal(syscall.SIGSTOP) // It may have ended, here and below.
	wait(ctx, long)
	_ = m.command.Process.Signal(syscall.SIGCONT)
}

// replace has each worker leave and another one join: one by one if they understand each other. Else nobody joins until
// the broker has given up those that were killed, because it refuses who does not understand them.
func (f *fleet) replace(ctx context.Context, protocol string) error {
	f.mu.Lock()
	rolling := f.protocol == protocol || f.protocol != cooperative && protocol != cooperative
	f.protocol = protocol
	f.closed = !rolling
	former := append([]*member(nil), f.workers...)
	f.mu.Unlock()
	for _, m := range former {
		f.end(ctx, m, syscall.SIGTERM)
		if rolling {
			if err := f.start(ctx); err != nil {
				return err
			}
		}
	}
	if !rolling {
		wait(ctx, sessionTimeout+time.Second)
		f.mu.Lock()
		f.closed = false
		f.mu.Unlock()
	}

	return f.fill(ctx)
}

// fill starts workers until there are as many as the plan has.
func (f *fleet) fill(ctx context.Context) error {
	for ctx.Err() == nil {
		f.mu.Lock()
		enough := f.closed || f.stopping || len(f.workers) >= f.plan.workers
		f.mu.Unlock()
		if enough {
			return nil
		}
		if err := f.start(ctx); err != nil {
			return err
		}
	}

	return nil
}

// stop ends all workers.
func (f *fleet) stop(ctx context.Context) {
	f.mu.Lock()
	f.stopping = true
	all := append([]*member(nil), f.workers...)
	f.mu.Unlock()
	var ending sync.WaitGroup
	for _, m := range all {
		ending.Go(func() { f.end(ctx, m, syscall.SIGTERM) })
	}
	ending.Wait()
	for _, m := range all {
		_ = m.command.Process.Kill() // Those of a run that was interrupted.
		_ = m.input.Close()
	}
	f.running.Wait()
}

// wait waits, or until the context ends.
func wait(ctx context.Context, long time.Duration) {
	select {
	case <-time.After(long):
	case <-ctx.Done():
	}
}

func (f *fleet) currentProtocol() string {
	f.mu.Lock()
	defer f.mu.Unlock()

	return f.protocol
}

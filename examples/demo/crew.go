package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"sync/atomic"
)

// crew is the worker processes of one phase.
type crew struct {
	job     job
	random  *rand.Rand // chooses who is killed and who leaves
	working []*worker
	leaving []*worker
	started int
	killed  int
	rewinds counter    // rewinds that workers have told
	failed  chan error // holds the error of a worker that ended by itself
}

type worker struct {
	number   int
	command  *exec.Cmd
	lifeline io.WriteCloser // the worker leaves when this is closed, be it by our death
	expected atomic.Bool    // it is told to end
	messages tail
	ended    chan struct{}
	err      error // valid once ended is closed
}

func newCrew(j job, seed uint64) *crew {
	return &crew{
		job:    j,
		random: rand.New(rand.NewPCG(seed, 0)), //nolint:gosec // It must be repeatable.
		failed: make(chan error, 1),
	}
}

// start starts a worker, this program again as a process of its own, and returns its number.
func (c *crew) start(ctx context.Context) (int, error) {
	program, err := os.Executable()
	if err != nil {
		return 0, fmt.Errorf("find this program: %w", err)
	}
	c.started++
	w := &worker{number: c.started, ended: make(chan struct{})}
	// The context's end must not kill the worker: it is to leave in order.
	w.command = exec.CommandContext(context.WithoutCancel(ctx), program, workerCommand)
	w.command.Env = append(os.Environ(), "GOMAXPROCS=1") // They share the machine.
	w.command.Stdout, w.command.Stderr = &c.rewinds, &w.messages
	if w.lifeline, err = w.command.StdinPipe(); err != nil {
		return 0, fmt.Errorf("make a pipe to a consumer: %w", err)
	}
	if err := w.command.Start(); err != nil {
		return 0, fmt.Errorf("start a consumer: %w", err)
	}
	c.working = append(c.working, w)
	go c.attend(w)
	if err := json.NewEncoder(w.lifeline).Encode(c.job); err != nil {
		return 0, fmt.Errorf("tell a consumer what to do: %w", err)
	}

	return w.number, nil
}

// attend waits for the end of a worker and reports one that was not told to end.
func (c *crew) attend(w *worker) {
	w.err = w.command.Wait()
	close(w.ended)
	if w.expected.Load() {
		return
	}
	select {
	case c.failed <- w.failure("ended by itself"):
	default: // Another one has failed before.
	}
}

// kill kills a worker with SIGKILL, whatever it is doing, and returns its number.
func (c *crew) kill(context.Context) (int, error) {
	w := c.take()
	c.killed++
	w.expected.Store(true)
	if err := w.command.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return 0, fmt.Errorf("kill consumer %d: %w", w.number, err)
	}
	<-w.ended

	return w.number, nil
}

// dismiss asks a worker to leave and returns its number.
func (c *crew) dismiss(context.Context) (int, error) {
	w := c.take()
	w.expected.Store(true)
	c.leaving = append(c.leaving, w)
	if err := w.lifeline.Close(); err != nil && !errors.Is(err, os.ErrClosed) { // It has ended already.
		return 0, fmt.Errorf("dismiss consumer %d: %w", w.number, err)
	}

	return w.number, nil
}

// take removes a worker from those at work.
func (c *crew) take() *worker {
	i := c.random.IntN(len(c.working))
	w := c.working[i]
	c.working = slices.Delete(c.working, i, i+1)

	return w
}

// close dismisses everybody and waits for their end, which they see to themselves. It returns
// an error if a guarded one did not leave in order; kafka.Reader may take its time to.
func (c *crew) close(ctx context.Context) error {
	var errs []error
	for len(c.working) > 0 {
		_, err := c.dismiss(ctx)
		errs = append(errs, err)
	}
	for _, w := range c.leaving {
		<-w.ended
		if w.err != nil && c.job.Consumer != naiveConsumer {
			errs = append(errs, w.failure("did not leave in order"))
		}
	}
	c.leaving = nil

	return errors.Join(errs...)
}

func (w *worker) failure(what string) error {
	return fmt.Errorf("consumer %d %s: %w\n%s", w.number, what, w.err, w.messages)
}

// counter counts the lines that are written to it.
type counter struct{ lines atomic.Int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.lines.Add(int64(bytes.Count(p, []byte("\n"))))

	return len(p), nil
}

// tail is a writer that keeps the end of what is written to it.
type tail []byte

const tailSize = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	*t = append(*t, p...)
	if extra := len(*t) - tailSize; extra > 0 {
		*t = slices.Delete(*t, 0, extra)
	}

	return len(p), nil
}

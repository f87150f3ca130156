package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const (
	// workerCommand makes this program a worker of the demo.
	workerCommand = "worker"

	// leaveTimeout is how long a worker may take to finish what it has begun and leave its group.
	leaveTimeout = 8 * time.Second
)

var errDoesNotLeave = errors.New("the worker does not stop")

// job is all that a worker needs to know. It comes through a pipe, so that no password is seen
// among the arguments of a process.
type job struct {
	DSN            string        `json:"dsn"`
	Schema         string        `json:"schema"`
	Brokers        []string      `json:"brokers"`
	Topic          string        `json:"topic"`
	Group          string        `json:"group"`
	SessionTimeout time.Duration `json:"session_timeout"`
	Consumer       string        `json:"consumer"`
	BatchSize      int           `json:"batch_size"`
	BreakGuard     bool          `json:"break_guard"` // for a test: each record is an event of its own
}

// work consumes until its input ends. That is how the demo asks a worker to leave, and what
// happens to a worker if the demo itself is killed. Signals of the terminal, which go to all
// processes in it, are left to the demo.
func work(input io.Reader) error {
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	var j job
	if err := json.NewDecoder(input).Decode(&j); err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	left := make(chan error, 1)
	go func() { left <- j.consume(ctx) }()
	go func() {
		_, _ = io.Copy(io.Discard, input)
		cancel()
	}()

	select {
	case err := <-left:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-left:
		return err
	case <-time.After(leaveTimeout):
		return errDoesNotLeave
	}
}

func (j job) consume(ctx context.Context) error {
	pool, err := connect(ctx, j.DSN, j.Schema)
	if ctx.Err() != nil {
		return nil // It is asked to leave already.
	}
	if err != nil {
		return err
	}
	defer pool.Close()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	switch j.Consumer {
	case naiveConsumer:
		return consumeNaively(ctx, j, pool, log)
	case paymentsConsumer, statementsConsumer:
		return consumeForConsole(ctx, j, pool, log)
	default:
		return consumeGuarded(ctx, j, pool, log)
	}
}

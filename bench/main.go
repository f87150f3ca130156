// The benchmark compares the guard with the algorithm that it replaces, with the limits of the
// machine and of PostgreSQL, and with a consumer written by hand, all in one run. See
// docs/benchmarks.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	run := func() error { return command(ctx, os.Args[1:], os.Stdout, os.Stderr) }
	if isConsumeRound() {
		run = func() error { return consumeTopic(ctx, os.Stdout) }
	}
	err := run()
	stop()
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	default:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// command is the program: the table goes to out, progress to messages.
func command(ctx context.Context, args []string, out, messages io.Writer) error {
	s, err := parseSettings(args, messages)
	if err != nil {
		return err
	}
	if s.from != "" {
		return again(s, out)
	}
	r, err := run(ctx, s, messages)
	if err != nil {
		return err
	}
	if err := r.save(s); err != nil {
		return err
	}

	return r.print(out)
}

// again shows the results of an earlier run.
func again(s settings, out io.Writer) error {
	r, err := readReport(s.from)
	if err != nil {
		return err
	}
	if err := r.draw(s.chart); err != nil {
		return err
	}

	return r.print(out)
}

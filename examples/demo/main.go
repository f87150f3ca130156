// The demo sends a stream of payments through Kafka into PostgreSQL twice, once with the guard
// and once without, while consumers are killed, join and leave, and then compares the ledgers.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// The exit statuses.
const (
	exitWrongLedger = 1
	exitFailure     = 2
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == workerCommand {
		os.Exit(workerStatus())
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := newCommand(os.Stdout, os.Stderr).ExecuteContext(ctx)
	stop()
	switch {
	case err == nil:
	case errors.Is(err, errWrongLedger): // The report says it.
		os.Exit(exitWrongLedger)
	default:
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(exitFailure)
	}
}

func workerStatus() int {
	if err := work(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, err)

		return exitFailure
	}

	return 0
}

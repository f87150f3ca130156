// Idemctl is the operator's tool of the guard: it creates the tables, tells what they hold and
// forgets what is old. "idemctl --help" says more.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/nova-events/idempotent-consumer/cmd/idemctl/internal/cli"
)

// version is set by the linker ("make build").
var version string

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first signal ends the work cleanly, a second one the process.
	context.AfterFunc(ctx, stop)

	return cli.Program{
		Args:      os.Args[1:],
		Stdin:     os.Stdin,
		Stdout:    os.Stdout,
		Stderr:    os.Stderr,
		LookupEnv: os.LookupEnv,
		Version:   version,
	}.Run(ctx)
}

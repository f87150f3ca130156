// Withpg runs a command with a temporary PostgreSQL server, whose URL the command finds in
// IDEM_TEST_DATABASE_URL, as tests do, and in DATABASE_URL, as services do. It exits with the
// command's status:
//
//	go run ./internal/withpg go test ./...
//
// So all test processes of one run share one server. If IDEM_TEST_DATABASE_URL is set already, both
// name that server.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"github.com/nova-events/idempotent-consumer/internal/pgserver"
)

const (
	envURL        = "IDEM_TEST_DATABASE_URL"
	envServiceURL = "DATABASE_URL"

	// statusUsage and statusSignal are the usual statuses of a wrong command line and, with
	// the number of the signal added, of a command that a signal ended.
	statusUsage  = 2
	statusSignal = 128
)

func main() {
	status, err := run(context.Background(), os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "withpg:", err)
	}
	os.Exit(status)
}

// run returns the exit status.
func run(ctx context.Context, command []string) (status int, err error) {
	if len(command) == 0 || strings.HasPrefix(command[0], "-") { // It has no flags of its own.
		return statusUsage, errors.New("usage: withpg COMMAND [ARGUMENT...]\nIt runs the command with a temporary PostgreSQL server, whose URL is in " + envURL + " and " + envServiceURL)
	}
	// From here on a signal ends the command, and that ends this program: the server is
	// stopped in any case.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer signal.Stop(signals)

	if url := os.Getenv(envURL); url != "" {
		return runCommand(ctx, command, withURL(url), signals)
	}
	server, err := pgserver.Start(ctx, pgserver.Config{})
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()

	return runCommand(ctx, command, withURL(server.DSN("postgres")), signals)
}

// withURL is this program's environment in which both variables name the server. Of two values of a
// variable the last one counts.
func withURL(url string) []string {
	return append(os.Environ(), envURL+"="+url, envServiceURL+"="+url)
}

// runCommand runs the command to its end and passes signals on to it. A terminal sends its
// own to both; a second one does no harm.
func runCommand(ctx context.Context, command, environment []string, signals <-chan os.Signal) (status int, err error) {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = environment
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return 1, fmt.Errorf("start the command: %w", err)
	}

	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case received := <-signals:
			_ = cmd.Process.Signal(received) // Fails if it has ended already.
		case err := <-ended:
			return exitStatus(cmd, err)
		}
	}
}

func exitStatus(cmd *exec.Cmd, err error) (int, error) {
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 1, fmt.Errorf("wait for the command: %w", err)
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return statusSignal + int(status.Signal()), nil
	}

	return cmd.ProcessState.ExitCode(), nil
}

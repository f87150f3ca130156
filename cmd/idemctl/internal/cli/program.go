// Package cli holds the commands of idemctl, one file each.
//
// Data goes to stdout, everything else to stderr. Nothing here exits or reads the environment
// by itself, so that tests run the whole program.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/nova-events/idempotent-consumer/ops"
)

// Program is one run of idemctl.
type Program struct {
	Args   []string
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	// LookupEnv is os.LookupEnv, or what a test wants the environment to be. The PG* variables
	// are read by pgx, from the process's own.
	LookupEnv func(name string) (string, bool)
	// Version is the version that was linked in, if any.
	Version string
}

// app is what the commands of one run share.
type app struct {
	Program

	settings settings
	target   target

	// running is set when a command's own code begins; errors before that are wrong usage.
	running bool
}

// settings are the flags that more than one command has.
type settings struct {
	databaseURL string
	schema      string
	consumer    string
	json        bool
	yes         bool
	timeout     time.Duration
}

// Run runs the command and returns the exit status.
func (p Program) Run(ctx context.Context) int {
	a := &app{Program: p}
	command, err := newRoot(a).ExecuteContextC(ctx) //nolint:contextcheck // The commands get it from cobra.
	if err == nil {
		return 0
	}
	status := a.exitStatus(ctx, err)
	text := escapeLines(cutLong(a.errorText(err)))
	if status == exitInterrupted {
		text = "interrupted: " + text
	} else {
		text = lines(text, timeLimit(err))
	}
	_, _ = fmt.Fprintf(a.Stderr, "idemctl: %s\n", text)
	if status == exitUsage {
		_, _ = fmt.Fprintf(a.Stderr, "Run \"%s --help\" for usage.\n", command.CommandPath())
	}

	return status
}

// exitStatus is the exit status that tells of err.
func (a *app) exitStatus(ctx context.Context, err error) int {
	var known *statusError
	switch {
	case errors.As(err, &known):
		return known.status
	case errors.Is(err, ops.ErrInvalid):
		return exitUsage
	case slices.ContainsFunc(unknown, func(kind error) bool { return errors.Is(err, kind) }):
		return exitNotFound
	case errors.Is(err, ops.ErrBusy):
		return exitBusy
	case ctx.Err() != nil:
		return exitInterrupted
	case !a.running:
		return exitUsage
	default:
		return exitFailure
	}
}

// unknown are the kinds of errors that tell that what was named is not there, or not in a state in which the command
// could do something with it.
var unknown = []error{ops.ErrUnknownEvent, ops.ErrUnknownDeadLetter, ops.ErrUnknownLease, ops.ErrUnknownConsumer, ops.ErrNoCheckpoint}

// The exit statuses, as the help of the root command documents them.
const (
	exitFailure     = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitUnconfirmed = 4
	exitBusy        = 5
	exitWarning     = 6
	exitProblem     = 7
	exitInterrupted = 130
)

// statusError is an error with an exit status of its own.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }

// fail returns an error with an exit status.
func fail(status int, format string, args ...any) error {
	return &statusError{status: status, err: fmt.Errorf(format, args...)}
}

// wrap says what failed, if anything did.
func wrap(what string, err error) error {
	if err == nil {
		return nil
	}

	return fmt.Errorf("%s: %w", what, err)
}

// lines joins the sentences of a message, one a line, without the empty ones.
func lines(sentences ...string) string {
	var kept []string
	for _, s := range sentences {
		if s != "" {
			kept = append(kept, s)
		}
	}

	return strings.Join(kept, "\n")
}

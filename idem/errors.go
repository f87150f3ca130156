package idem

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

var (
	// ErrInvalidConfig is returned, with the reason, when a configuration or an option makes
	// no sense. It is found before any I/O.
	ErrInvalidConfig = errors.New("idem: invalid configuration")

	// ErrInvalidEventID is returned, with the reason, when an event id is empty, longer than
	// MaxEventIDBytes, not UTF-8 or contains a NUL byte. It is found before any I/O. The same
	// id will always be refused.
	ErrInvalidEventID = errors.New("idem: invalid event id")

	// ErrInvalidMetadata is returned, with the reason, when the user's part of the metadata
	// is not JSON or too large. It is found before any I/O.
	ErrInvalidMetadata = errors.New("idem: invalid metadata")

	// ErrNotFound is returned by Lookup when the event is not processed, or forgotten.
	// Resolve returns it when the claim did not take effect and nobody else's did.
	ErrNotFound = errors.New("idem: event not found")

	// ErrNotRegistered is returned by ClaimTx before the guard has registered its consumer.
	// Call Register once at start-up. (ClaimTx cannot do it by itself: inside the caller's
	// transaction it could be rolled back, and outside it might wait for ever for the
	// connection that the caller holds.)
	ErrNotRegistered = errors.New("idem: consumer not registered, call Register first")

	// ErrNotMigrated is returned when the guard's tables are not there. Run
	// "idemctl migrate up", or check Config.Schema.
	ErrNotMigrated = errors.New("idem: tables not found, run \"idemctl migrate up\" or check the schema's name")

	// ErrOutcomeUnknown is returned when the connection was lost during COMMIT and within
	// RetryPolicy.ResolveTimeout no other connection could tell whether it took effect.
	// Calling again with the same event id is safe, the event is processed once either way,
	// so IsTransient reports true; the guard itself leaves it to the caller.
	ErrOutcomeUnknown = errors.New("idem: outcome of the commit unknown")

	// ErrHandlerTx is returned by Commit and Rollback of the transaction that a handler is
	// given, which do nothing. Return nil to commit and an error to roll back. Wrapped in a
	// HandlerError it says that the handler ended the transaction by SQL of its own: the
	// claim and the writes before that may be committed, without those that came after.
	ErrHandlerTx = errors.New("idem: the transaction is ended by the guard, not by the handler")
)

// HandlerError is returned when the handler failed: it returned an error, left the
// transaction aborted, or its writes were refused at COMMIT. Nothing of it took effect (but
// see ErrHandlerTx) and the event stays claimable. It wraps the handler's own error for errors.Is and errors.As.
type HandlerError struct {
	EventID string
	Err     error

	transient bool
}

func (e *HandlerError) Error() string { return "idem: handler failed: " + e.Err.Error() }

// Unwrap returns the handler's own error.
func (e *HandlerError) Unwrap() error { return e.Err }

// RetentionConflictError is returned when a consumer is registered with another retention
// than Config.Retention. Either change the configuration (zero takes what is registered), or
// change the registration with "idemctl consumer set-retention".
type RetentionConflictError struct {
	Consumer   string
	Configured time.Duration
	Registered time.Duration
}

func (e *RetentionConflictError) Error() string {
	return fmt.Sprintf("idem: consumer %q is registered with a retention of %v but configured with %v; to change it for all its processes run: idemctl consumer set-retention %s %v",
		e.Consumer, e.Registered, e.Configured, e.Consumer, e.Configured)
}

// IsTransient reports whether err comes of the infrastructure and may be gone on another try:
// a connection that could not be made or was lost, a serialization failure, a deadlock, a
// server short of resources or shutting down. Errors that a handler returned for reasons of
// its own are not transient.
func IsTransient(err error) bool {
	if errors.Is(err, ErrOutcomeUnknown) || errors.Is(err, errCommitUnanswered) {
		return true
	}
	var handler *HandlerError
	if errors.As(err, &handler) {
		return handler.transient
	}
	if transient, known := transientSQL(err); known {
		return transient
	}
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		return true
	}

	return connectionLost(err)
}

// transientSQL judges by SQLSTATE, the only part of a server's error that is the same in all
// languages. known is false if err holds none.
func transientSQL(err error) (transient, known bool) {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return false, false
	}
	code := pgErr.Code

	return code == "40001" || // serialization_failure
		code == "40P01" || // deadlock_detected
		strings.HasPrefix(code, "08") || // connection exceptions
		strings.HasPrefix(code, "53") || // insufficient resources
		strings.HasPrefix(code, "57P0"), true // the server is shutting down, crashed or starting
}

// connectionLost reports whether err says that the connection to the server is gone, other
// than by the end of a context.
func connectionLost(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var network net.Error

	return pgconn.SafeToRetry(err) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || errors.As(err, &network)
}

// commitRefused reports whether err, from a COMMIT, proves that nothing was committed.
// A server that ends the connection (FATAL) may have committed before: while it waits for a
// standby, for instance.
func commitRefused(err error) bool {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		severity := pgErr.SeverityUnlocalized
		if severity == "" {
			severity = pgErr.Severity
		}

		return severity == "ERROR" && !strings.HasPrefix(pgErr.Code, "08") && pgErr.Code != "40003"
	}

	return pgconn.SafeToRetry(err)
}

// explain adds what to do about the errors of a database that lacks the guard's tables.
func explain(err error) error {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && (pgErr.Code == "42P01" || pgErr.Code == "3F000") {
		return fmt.Errorf("%w: %w", ErrNotMigrated, err)
	}

	return err
}

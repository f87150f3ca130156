package lease

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"time"

	"github.com/nova-events/idempotent-consumer/idem"
)

// ErrResultTooLarge is returned, with both sizes, when the body of a result is longer than Config.MaxResultBytes. The
// effect has happened and cannot be remembered: it counts as unknown.
var ErrResultTooLarge = errors.New("lease: the result is too large")

// errNoReturn is what is stored of an attempt that did not return.
var errNoReturn = errors.New("lease: the function did not return: it panicked or ended its goroutine")

// InProgressError is returned when another call has the event, or when it waits after an attempt that failed. The function
// did not run, and the other attempt may fail yet: come back. idem.IsTransient reports true for it, so the handler of a
// Kafka consumer returns it, and the record waits.
type InProgressError struct {
	EventID string

	// RetryAfter is when to come back: when the lease ends unless it is extended, or the pause after an attempt that
	// failed. 0 is soon.
	RetryAfter time.Duration
}

func (e *InProgressError) Error() string {
	return fmt.Sprintf("lease: event %q is in progress in another call, or waits after an attempt that failed; come back after %v", e.EventID, e.RetryAfter)
}

// Unwrap returns an error for which idem.IsTransient reports true.
func (e *InProgressError) Unwrap() error { return errInProgress }

var errInProgress = idem.Transient(errors.New("lease: in progress"))

// FailedError is returned when an attempt failed, with what the function returned. The event may be tried again
// after RetryAfter; Do returns an *InProgressError before. If IsUnknown reports true, the attempt may have taken effect, and
// Config.Unknown decides what the next call does.
type FailedError struct {
	EventID    string
	Attempts   int // that have begun, with this one
	RetryAfter time.Duration
	Err        error
}

func (e *FailedError) Error() string {
	return fmt.Sprintf("lease: attempt %d of event %q failed: %v", e.Attempts, e.EventID, e.Err)
}

// Unwrap returns what the function returned.
func (e *FailedError) Unwrap() error { return e.Err }

// LostError is returned when the lease was lost while the function ran: another attempt or an operator has the
// event now, or PostgreSQL could not be reached until the lease ended. It is the cause (context.Cause) of the end of
// the function's context, too. Nothing was completed. The effect may have happened, which the next attempt is
// told (Attempt.Unknown).
type LostError struct {
	EventID string
	Reason  error // why it was lost
	Err     error // of the function; nil if it returned none, and in the cause of its context
}

func (e *LostError) Error() string {
	text := fmt.Sprintf("lease: the lease of event %q is lost: %v", e.EventID, e.Reason)
	if e.Err != nil {
		text += fmt.Sprintf(" (the function returned: %v)", e.Err)
	}

	return text
}

// Unwrap returns the reason and what the function returned.
func (e *LostError) Unwrap() []error { return []error{e.Reason, e.Err} }

// errTaken is a reason to have lost a lease.
var errTaken = errors.New("it has another holder, or none any more")

// UndecidedError is returned when nobody knows whether an attempt took effect, and the policy is NeedsDecision, or
// Ask did not find it out. Each call returns it until an operator decides ("idemctl lease decide"), or Ask finds it
// out.
type UndecidedError struct {
	EventID  string
	Attempts int       // that have begun
	Unknown  int       // of which nobody knows whether they took effect
	Since    time.Time // by the database's clock; zero if it was found out by this call
	Err      error     // why it is not known
}

func (e *UndecidedError) Error() string {
	return fmt.Sprintf("lease: %d of %d attempts of event %q may have taken effect; somebody has to decide (idemctl lease decide): %v",
		e.Unknown, e.Attempts, e.EventID, e.Err)
}

// Unwrap returns the reason.
func (e *UndecidedError) Unwrap() error { return e.Err }

// Unknown wraps an error of a function after which nobody knows whether the effect happened: no answer came, for
// instance. Config.Unknown decides what follows. Errors of the network need no wrapping (IsUnknown). Any other error says
// that nothing happened, or that it is safe to try again. It returns nil for nil.
func Unknown(err error) error {
	if err == nil {
		return nil
	}

	return &unknownError{err}
}

// Harmless wraps an error of the network of which a function knows that nothing happened, or that it is safe to try
// again: it came of a question before the effect, for instance. It takes nothing back that Unknown says. It returns nil for nil.
func Harmless(err error) error {
	if err == nil {
		return nil
	}

	return &harmlessError{err}
}

// IsUnknown reports whether an error leaves open whether the effect happened: it wraps one of Unknown, or one of the
// network, behind which a request may have arrived: what http.Client.Do returns, a *net.OpError, a timeout (net.Error), also
// context.DeadlineExceeded, io.EOF and io.ErrUnexpectedEOF. Not so if no connection came about (dialing, DNS, certificates): a client
// that follows redirects, or repeats requests, may have sent one before; use Unknown there. What Harmless wraps does not count.
func IsUnknown(err error) bool { return errors.As(err, new(*unknownError)) || mayHaveArrived(err) }

// mayHaveArrived reports whether an error, or one that it wraps, is one of the network behind which a request may have arrived.
func mayHaveArrived(err error) bool {
	switch err := err.(type) { //nolint:errorlint // It goes down the chain itself: what is harmless says nothing of its neighbours.
	case *harmlessError:
		return false
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(err.Unwrap(), mayHaveArrived)
	case *url.Error:
		return err.Op != "parse" && isConnected(err)
	case *net.OpError:
		return isConnected(err)
	case net.Error: // Errors of files have its methods, too.
		if err.Timeout() {
			return isConnected(err)
		}
	}
	inner := errors.Unwrap(err)

	return inner != nil && mayHaveArrived(inner) || err == io.EOF || err == io.ErrUnexpectedEOF //nolint:errorlint // As above.
}

// isConnected reports whether an error of the network came behind the making of a connection, as far as it tells.
func isConnected(err error) bool {
	var op *net.OpError
	connecting := errors.As(err, &op) && slices.Contains([]string{"dial", "proxyconnect", "socks connect"}, op.Op)

	return !connecting && !errors.As(err, new(*net.DNSError)) && !errors.As(err, new(*tls.CertificateVerificationError))
}

type unknownError struct{ error }

func (e *unknownError) Unwrap() error { return e.error }

type harmlessError struct{ error }

func (e *harmlessError) Unwrap() error { return e.error }

package lease

import (
	"errors"
	"fmt"
	"time"
)

// ErrResultTooLarge is returned, with both sizes, when the body of a result is longer than Config.MaxResultBytes. The
// effect has happened and cannot be remembered: it counts as unknown.
var ErrResultTooLarge = errors.New("lease: the result is too large")

// errNoReturn is what is stored of an attempt that did not return.
var errNoReturn = errors.New("lease: the function did not return: it panicked or ended its goroutine")

// FailedError is returned when an attempt failed, with what the function returned. The event may be tried again
// after RetryAfter; Do returns InProgress before. If IsUnknown reports true, the attempt may have taken effect, and
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
// instance. Config.Unknown decides what follows. Without it, an error says that nothing happened, or that it is safe
// to try again. It returns nil for nil.
func Unknown(err error) error {
	if err == nil {
		return nil
	}

	return &unknownError{err}
}

// IsUnknown reports whether an error wraps one of Unknown.
func IsUnknown(err error) bool { return errors.As(err, new(*unknownError)) }

type unknownError struct{ error }

func (e *unknownError) Unwrap() error { return e.error }

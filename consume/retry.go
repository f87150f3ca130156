package consume

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/nova-events/idempotent-consumer/idem"
)

// RetryPolicy says how long the handler is tried for a record before the record fails
// (FailureConfig.Policy). The partition waits meanwhile, or with Lanes the lane, so that the order is
// kept; the others go on. With the defaults a record is tried for more than a minute: a shorter outage of
// another service makes no dead letters. Zero fields have their defaults.
//
// Transient errors use no attempts: errors of PostgreSQL's infrastructure, and errors that
// Transient returned, are retried until they are gone, at most 2 s apart.
type RetryPolicy struct {
	// MaxAttempts is how often the handler may fail for one record. Default 10. With idem.Unlimited
	// only LongestTotal is a limit.
	MaxAttempts int

	// FirstPause is the pause before the second attempt. Each pause is twice as long as the one
	// before, up to LongestPause; a random part of up to an eighth is subtracted. Defaults: 250 ms
	// and 20 s; if only one is set and the other's default does not fit, both are the same.
	FirstPause   time.Duration
	LongestPause time.Duration

	// LongestTotal bounds the time for all failed attempts of a record and the pauses between them: an
	// attempt that would begin later is not made. Default 0: no bound.
	LongestTotal time.Duration
}

func (p RetryPolicy) withDefaults() RetryPolicy {
	p.MaxAttempts = cmp.Or(p.MaxAttempts, 10)
	if p.FirstPause == 0 {
		p.FirstPause = min(250*time.Millisecond, cmp.Or(max(p.LongestPause, 0), time.Hour))
	}
	p.LongestPause = cmp.Or(p.LongestPause, max(20*time.Second, p.FirstPause))

	return p
}

func (p RetryPolicy) validate() error {
	switch {
	case p.MaxAttempts < idem.Unlimited:
		return fmt.Errorf("%w: Retry.MaxAttempts is %d; use a positive number or idem.Unlimited", ErrInvalidConfig, p.MaxAttempts)
	case p.FirstPause < 0 || p.LongestPause < p.FirstPause || p.LongestTotal < 0:
		return fmt.Errorf("%w: Retry has the pauses %v to %v and the total %v; give none that is negative, and a LongestPause that is not less than FirstPause",
			ErrInvalidConfig, p.FirstPause, p.LongestPause, p.LongestTotal)
	default:
		return nil
	}
}

// Permanent wraps an error of a handler that no other attempt can change: the record fails at
// once (FailureConfig.Policy), and the breaker does not count it.
func Permanent(err error) error {
	if err == nil {
		return nil
	}

	return &permanentError{err}
}

// Transient wraps an error of a handler that is not the record's fault and will pass, such as another
// service's outage. The record is tried again until the error is gone, and no attempt is used. It is
// idem.Transient.
func Transient(err error) error { return idem.Transient(err) }

type permanentError struct{ error }

func (e *permanentError) Unwrap() error { return e.error }

// IsPermanent reports whether err wraps an error that Permanent returned.
func IsPermanent(err error) bool {
	var marked *permanentError

	return errors.As(err, &marked)
}

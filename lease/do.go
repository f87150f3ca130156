package lease

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
)

// Outcome says what became of an event. The zero value accompanies every error.
type Outcome uint8

const (
	// Processed means that this call completed the event.
	Processed Outcome = iota + 1
	// AlreadyProcessed means that the event was completed before, or claimed by other means. The function did not
	// run.
	AlreadyProcessed
)

// String returns "processed", "already processed" or, for the zero value, "none".
func (o Outcome) String() string {
	switch o {
	case Processed:
		return "processed"
	case AlreadyProcessed:
		return "already processed"
	default:
		return "none"
	}
}

// Done is the answer of Do.
type Done struct {
	Outcome Outcome
	// Result is what the function returned, in this call or in the one that completed the event. It is empty if
	// the event was claimed by other means.
	Result Result
}

// Func is an effect outside the transaction. Its error says that nothing happened, or that it is safe to try again, also
// with another payload (WithFingerprint): otherwise wrap it with Unknown, unless it is one of the network (IsUnknown). If its
// ctx has ended, its error counts as unknown in any case, and so do a panic and runtime.Goexit. Its ctx ends with a *LostError as its cause (context.Cause) if the lease is lost.
type Func func(ctx context.Context, a *Attempt) (Result, error)

// Option changes one call.
type Option func(*options)

type options struct {
	fingerprint idem.Fingerprint
	wait        time.Duration
}

// WithFingerprint stores the fingerprint of the event's payload with the lease and the claim. If the event came
// before with another one, and is in progress, completed, or may have taken effect, the error is an
// *idem.CollisionError, with both and when that was.
func WithFingerprint(f idem.Fingerprint) Option { return func(o *options) { o.fingerprint = f } }

// Wait waits while the event is in progress, up to limit or the end of ctx, instead of returning an *InProgressError at once.
// If the other attempt fails, the function runs in this call.
func Wait(limit time.Duration) Option { return func(o *options) { o.wait = limit } }

// errNoFunction is returned for a nil function.
var errNoFunction = fmt.Errorf("%w: the function is nil", idem.ErrInvalidConfig)

// Do runs fn for an event unless it is completed, or another call is running it. It acquires a lease, runs fn,
// extending the lease meanwhile, and completes the event: claim, result and what Attempt.InTx has added, in one
// transaction.
//
// Errors are *InProgressError, *FailedError (with what fn returned), *LostError, *UndecidedError, *idem.CollisionError, those
// of idem.Guard.ProcessIfNew, and idem.ErrInvalidEventID. If fn panics, the panic goes on.
//
// Do not call it in a transaction that has claimed the same event for the same consumer: the completion would wait for that
// transaction. In a handler give the leases a consumer of their own; with the handler's the error is idem.ErrInvalidConfig.
func (l *Leases) Do(ctx context.Context, eventID string, fn Func, opts ...Option) (Done, error) {
	if l == nil || l.guard == nil {
		return Done{}, fmt.Errorf("%w: the Leases are not made by New", idem.ErrInvalidConfig)
	}
	if fn == nil {
		return Done{}, errNoFunction
	}
	if err := idem.CheckEventID(eventID); err != nil {
		return Done{}, err
	}
	if err := l.tables.NotWithin(ctx, eventID); err != nil { // The completion would wait for that handler's transaction.
		return Done{}, err
	}
	var o options
	for _, opt := range opts {
		if opt == nil {
			return Done{}, fmt.Errorf("%w: an option is nil", idem.ErrInvalidConfig)
		}
		opt(&o)
	}
	patience := time.Now().Add(o.wait)
	pauses := backoff.Exponential{Initial: 20 * time.Millisecond, Max: time.Second}
	for tries := 1; ; tries++ {
		h, done, err := l.acquire(ctx, eventID, o.fingerprint)
		if h != nil {
			return l.attempt(ctx, h, fn)
		}
		left := time.Until(patience)
		if !errors.As(err, new(*InProgressError)) || left <= 0 {
			return done, err
		}
		if !backoff.Sleep(ctx, min(pauses.LongPause(tries), left)) {
			return Done{}, Harmless(fmt.Errorf("lease: event %q is in progress: %w", eventID, context.Cause(ctx)))
		}
	}
}

// attempt runs the function under a lease, and ends the lease in one way or another.
func (l *Leases) attempt(ctx context.Context, h *held, fn Func) (done Done, err error) {
	switch { // It may have taken long to get here.
	case ctx.Err() != nil:
		l.end(ctx, h, released, 0, false, "it did not begin: "+ctx.Err().Error())

		return Done{}, Harmless(fmt.Errorf("lease: event %q was not begun: %w", h.eventID, context.Cause(ctx)))
	case !time.Now().Before(h.until):
		l.end(ctx, h, released, 0, false, "it did not begin before its lease ended")

		return Done{}, &InProgressError{EventID: h.eventID}
	}
	a := &Attempt{EventID: h.eventID, Number: h.attempts, Unknown: h.unknown, leases: l, held: h}
	returned := false
	defer func() {
		if !returned {
			_ = l.failed(ctx, h, Unknown(errNoReturn))
		}
	}()
	result, err := l.hold(ctx, h, a, fn)
	if err == nil {
		err = l.complete(ctx, h, a, result)
	}
	returned = true
	if err != nil {
		return Done{}, l.failed(ctx, h, err)
	}

	return Done{Outcome: Processed, Result: result}, nil
}

// errStillUnknown is the error of an attempt whose question got the answer StillUnknown.
var errStillUnknown = errors.New("lease: it could not be found out")

// failed ends the lease of an attempt that failed, and returns its error.
func (l *Leases) failed(ctx context.Context, h *held, err error) error {
	lost := h.lost(err) != nil
	state, needsDecision, pause := released, false, l.pause(h.attempts)
	if lost || IsUnknown(err) {
		state, needsDecision = unknown, !l.config.Unknown.mayRerun() || !h.ran && errors.Is(err, errStillUnknown)
		if h.ran {
			h.unknown++
		}
	}
	if needsDecision {
		pause = 0
	}
	l.end(ctx, h, state, pause, needsDecision, err.Error())
	switch {
	case lost:
		return err
	case needsDecision && !errors.Is(err, idem.ErrOutcomeUnknown): // Then the next call may find it completed.
		return &UndecidedError{EventID: h.eventID, Attempts: h.attempts, Unknown: h.unknown, Err: err}
	default:
		return &FailedError{EventID: h.eventID, Attempts: h.attempts, RetryAfter: pause, Err: err}
	}
}

package idem

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nova-events/idempotent-consumer/internal/backoff"
	"github.com/nova-events/idempotent-consumer/internal/onceper"
)

// RetryPolicy governs how calls are repeated after transient errors (see IsTransient), each
// time in a new transaction and from the start. Other errors are never retried. Zero fields
// have defaults.
type RetryPolicy struct {
	// MaxAttempts is how often a call is tried in total. Default 5; 1 never retries; Unlimited
	// retries until the context ends.
	MaxAttempts int

	// InitialBackoff and MaxBackoff bound the pauses: before attempt n+1 the pause is
	// random between zero and min(MaxBackoff, InitialBackoff·2^(n-1)). This is the "full
	// jitter" of Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
	// Defaults 50 ms, or MaxBackoff if that is less, and 5 s, or InitialBackoff if that is more.
	InitialBackoff time.Duration
	MaxBackoff     time.Duration

	// ResolveTimeout bounds what continues after the context has ended or the connection was lost:
	// a COMMIT under way, a ROLLBACK, and the search for a COMMIT's outcome. Default 10 s.
	ResolveTimeout time.Duration
}

func (p RetryPolicy) withDefaults() RetryPolicy {
	p.MaxAttempts = cmp.Or(p.MaxAttempts, 5)
	if p.InitialBackoff == 0 {
		p.InitialBackoff = min(50*time.Millisecond, cmp.Or(max(p.MaxBackoff, 0), time.Hour))
	}
	p.MaxBackoff = cmp.Or(p.MaxBackoff, max(5*time.Second, p.InitialBackoff))
	p.ResolveTimeout = cmp.Or(p.ResolveTimeout, 10*time.Second)

	return p
}

func (p RetryPolicy) validate() error {
	switch {
	case p.MaxAttempts < Unlimited:
		return fmt.Errorf("%w: MaxAttempts is %d; use a positive number or Unlimited", ErrInvalidConfig, p.MaxAttempts)
	case p.InitialBackoff < 0 || p.MaxBackoff < 0 || p.ResolveTimeout < 0:
		return fmt.Errorf("%w: the retry policy has a negative duration", ErrInvalidConfig)
	case p.MaxBackoff < p.InitialBackoff:
		return fmt.Errorf("%w: MaxBackoff %v is less than InitialBackoff %v", ErrInvalidConfig, p.MaxBackoff, p.InitialBackoff)
	default:
		return nil
	}
}

// retryLog tells of retries, once a minute: who polls while PostgreSQL is away must not fill the log.
type retryLog struct {
	log  *slog.Logger
	told onceper.Limit
}

func (l *retryLog) tell(ctx context.Context, failed int, pause time.Duration, err error) {
	if l.told.Due(time.Minute) {
		l.log.WarnContext(ctx, "idem: retrying after a transient error; others are not logged for a minute", "attempt", failed, "pause", pause, "error", err)
	}
}

// do repeats try while its errors are transient and the policy and the context allow.
func (p RetryPolicy) do(ctx context.Context, log *retryLog, try func() error) error {
	pauses := backoff.Exponential{Initial: p.InitialBackoff, Max: p.MaxBackoff}
	lost := false // prepared statements, the last time
	for failed := 1; ; failed++ {
		err := try()
		before := lost
		if lost = statementsLost(err); lost && before {
			return fmt.Errorf("%w: %w", errNoStatements, err)
		}
		switch {
		case err == nil || !IsTransient(err) || errors.Is(err, ErrOutcomeUnknown):
			return err
		case ctx.Err() != nil:
			return endOf(ctx, err)
		case failed == p.MaxAttempts && failed > 1:
			return fmt.Errorf("after %d attempts: %w", failed, err)
		case failed == p.MaxAttempts:
			return err
		}
		pause := pauses.Pause(failed)
		log.tell(ctx, failed, pause, err)
		if !backoff.Sleep(ctx, pause) {
			return endOf(ctx, err)
		}
	}
}

// endOf is the error of a call whose context ended: the context's, with its cause if that is
// another, and what went wrong before.
func endOf(ctx context.Context, err error) error {
	end := ctx.Err()
	if errors.Is(err, end) {
		return err
	}
	if cause := context.Cause(ctx); !errors.Is(cause, end) {
		end = fmt.Errorf("%w (%w)", end, cause)
	}

	return fmt.Errorf("%w while retrying after: %w", end, err)
}

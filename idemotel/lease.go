package idemotel

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/lease"
)

// Phases of an effect outside the transaction: values of idem.operation.
const (
	acquire = "acquire"
	effect  = "effect"
	step    = "step"
)

// Values of idem.outcome for what is known of an event before an attempt, and for how the attempt ends.
const (
	acquired         = "acquired"
	alreadyProcessed = "already_processed"
	inProgress       = "in_progress"
	undecided        = "undecided"

	returned = "returned"
	unknown  = "unknown"
	lost     = "lost"
)

// LeaseHooks returns hooks for lease.Config. They call those of inner, which may be empty, within their own: inner finds the spans
// in the context. The completion of an event is a call of the guard: give that GuardHooks, too.
func (t *Telemetry) LeaseHooks(inner lease.Hooks) lease.Hooks {
	return lease.Hooks{
		Acquire: nest(t, idem.Hook[lease.Op, lease.AcquireEnd]{Begin: t.beginAcquire, End: t.endAcquire}, inner.Acquire),
		Run:     nest(t, idem.Hook[lease.Op, lease.RunEnd]{Begin: t.beginEffect, End: t.endEffect}, inner.Run),
		Step:    nest(t, idem.Hook[lease.Op, lease.StepEnd]{Begin: t.beginStep, End: t.endStep}, inner.Step),
	}
}

// beginLeased begins the span of a phase.
func (t *Telemetry) beginLeased(ctx context.Context, name string, op lease.Op) context.Context {
	c := t.begin(ctx)
	c.Context, c.span = t.tracer.Start(ctx, name, trace.WithAttributes(consumerKey.String(op.Consumer)))
	if c.span.IsRecording() {
		c.span.SetAttributes(eventIDKey.String(op.EventID))
		if op.Attempt > 0 {
			c.span.SetAttributes(attemptKey.Int(op.Attempt))
		}
	}

	return c
}

// endLeased ends what beginLeased has begun.
func (t *Telemetry) endLeased(ctx context.Context, phase string, op lease.Op, err error, attributes ...attribute.KeyValue) {
	c := t.callOf(ctx)
	t.measure(ctx, c, phase, op.Consumer, err)
	c.span.SetAttributes(attributes...)
	endSpan(c.span, err)
}

func (t *Telemetry) beginAcquire(ctx context.Context, op lease.Op) context.Context {
	if _, begun := t.leased.Load(op.Consumer); !begun { // They begin at zero, as those of acquired.
		t.leased.Store(op.Consumer, nil)
		t.countLeased(ctx, t.instruments.lookups, 0, op, acquired, alreadyProcessed, inProgress, undecided, failed)
		t.countLeased(ctx, t.instruments.attempts, 0, op, returned, unknown, lost, failed)
	}

	return t.beginLeased(ctx, acquire+" "+op.Consumer, op)
}

func (t *Telemetry) countLeased(ctx context.Context, counter metric.Int64Counter, n int64, op lease.Op, outcomes ...string) {
	for _, outcome := range outcomes {
		counter.Add(ctx, n, t.with(series{consumer: op.Consumer, name: outcomeKey, value: outcome}).add...)
	}
}

func (t *Telemetry) endAcquire(ctx context.Context, op lease.Op, end lease.AcquireEnd) {
	outcome := acquired
	switch {
	case errors.As(end.Err, new(*lease.UndecidedError)):
		outcome = undecided
	case errors.As(end.Err, new(*lease.InProgressError)):
		outcome, end.Err = inProgress, nil
	case end.Err != nil:
		outcome = failed
	case end.Outcome == lease.AlreadyProcessed:
		outcome = alreadyProcessed
	}
	t.countLeased(ctx, t.instruments.lookups, 1, op, outcome)
	t.endLeased(ctx, acquire, op, end.Err, outcomeKey.String(outcome), attemptKey.Int(end.Attempts), unknownKey.Int(end.Unknown))
}

func (t *Telemetry) beginEffect(ctx context.Context, op lease.Op) context.Context {
	return t.beginLeased(ctx, effect+" "+op.Consumer, op)
}

func (t *Telemetry) endEffect(ctx context.Context, op lease.Op, end lease.RunEnd) {
	outcome := returned
	switch {
	case errors.As(end.Err, new(*lease.LostError)):
		outcome = lost
	case lease.IsUnknown(end.Err):
		outcome = unknown
	case end.Err != nil:
		outcome = failed
	}
	t.countLeased(ctx, t.instruments.attempts, 1, op, outcome)
	t.endLeased(ctx, effect, op, end.Err, outcomeKey.String(outcome))
}

func (t *Telemetry) beginStep(ctx context.Context, op lease.Op) context.Context {
	return t.beginLeased(ctx, step+" "+op.Step, op)
}

func (t *Telemetry) endStep(ctx context.Context, op lease.Op, end lease.StepEnd) {
	t.endLeased(ctx, step, op, end.Err, storedKey.Bool(end.Stored))
}

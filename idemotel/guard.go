package idemotel

import (
	"context"

	"go.opentelemetry.io/otel/trace"

	"github.com/nova-events/idempotent-consumer/idem"
)

// The phases of a transaction: values of idem.operation and names of spans.
const (
	claim   = "claim"
	handler = "handler"
	commit  = "commit"
)

// GuardHooks returns hooks for idem.Config. They call those of inner, which may be empty, within their own: inner
// finds the spans in the context.
func (t *Telemetry) GuardHooks(inner idem.Hooks) idem.Hooks {
	return idem.Hooks{
		Process: nest(t, idem.Hook[idem.Op, idem.ProcessEnd]{Begin: t.beginGuarded, End: t.endGuarded}, inner.Process),
		Batch:   nest(t, idem.Hook[idem.Op, idem.BatchEnd]{Begin: t.beginGuarded, End: t.endGuardedBatch}, inner.Batch),
		Claim:   nest(t, phase(t, claim, func(end idem.ClaimEnd) (int, error) { return end.New, end.Err }), inner.Claim),
		Handler: nest(t, phase(t, handler, func(end idem.HandlerEnd) (int, error) { return 0, end.Err }), inner.Handler),
		Commit:  nest(t, phase(t, commit, func(end idem.CommitEnd) (int, error) { return 0, end.Err }), inner.Commit),
		Cleanup: nest(t, idem.Hook[idem.Op, idem.CleanupEnd]{Begin: t.beginCleanup, End: t.endCleanup}, inner.Cleanup),
	}
}

// CleanerHook returns the hook for idem.CleanerConfig. It calls inner, which may be empty, within its own.
func (t *Telemetry) CleanerHook(inner idem.Hook[idem.Op, idem.CleanupEnd]) idem.Hook[idem.Op, idem.CleanupEnd] {
	for _, outcome := range []string{complete, failed, elsewhere} { // They begin at zero, as those of acquired.
		t.instruments.cleanupPasses.Add(context.Background(), 0, t.with(series{name: outcomeKey, value: outcome}).add...)
	}
	t.instruments.cleanupDeleted.Add(context.Background(), 0, t.with(series{}).add...)

	return t.GuardHooks(idem.Hooks{Cleanup: inner}).Cleanup
}

// inTransaction reports whether a call of the guard is within a consumer's try, which counts and has the span.
func (t *Telemetry) inTransaction(ctx context.Context) bool {
	c := t.callOf(ctx)

	return c != nil && c.transaction
}

func (t *Telemetry) beginGuarded(ctx context.Context, op idem.Op) context.Context {
	if t.inTransaction(ctx) {
		return ctx
	}
	c := t.begin(ctx)
	c.Context, c.span = t.tracer.Start(ctx, op.Kind.String()+" "+op.Consumer, trace.WithAttributes(consumerKey.String(op.Consumer)))
	if c.span.IsRecording() {
		if op.EventID != "" {
			c.span.SetAttributes(eventIDKey.String(op.EventID))
		} else {
			c.span.SetAttributes(eventsKey.Int(op.Events))
		}
	}

	return c
}

func (t *Telemetry) endGuarded(ctx context.Context, op idem.Op, end idem.ProcessEnd) {
	result := idem.BatchResult{Outcome: end.Outcome, Duplicate: end.Duplicate}
	t.endGuardedBatch(ctx, op, idem.BatchEnd{Results: []idem.BatchResult{result}, Err: end.Err})
}

func (t *Telemetry) endGuardedBatch(ctx context.Context, op idem.Op, end idem.BatchEnd) {
	var (
		processed, duplicates int
		kinds                 idem.DuplicateCounts
	)
	for _, result := range end.Results {
		switch result.Outcome {
		case idem.Processed:
			processed++
		case idem.AlreadyProcessed:
			duplicates++
			kinds[result.Duplicate]++
		default:
		}
	}
	t.endOutside(ctx, op, processed, duplicates, kinds, end.Err)
}

// endOutside ends a call of the guard that is not a consumer's.
func (t *Telemetry) endOutside(ctx context.Context, op idem.Op, fresh, duplicates int, kinds idem.DuplicateCounts, err error) {
	if t.inTransaction(ctx) {
		return
	}
	t.count(ctx, fresh, series{consumer: op.Consumer, name: outcomeKey, value: outcomeOf(op.Kind)})
	t.countDuplicates(ctx, kinds, series{consumer: op.Consumer})
	c := t.callOf(ctx)
	t.measure(ctx, c, op.Kind.String(), op.Consumer, err)
	if c.span.IsRecording() {
		c.span.SetAttributes(processedKey.Int(fresh), duplicatesKey.Int(duplicates))
	}
	endSpan(c.span, err)
}

func (t *Telemetry) measure(ctx context.Context, c *call, operation, consumer string, err error) {
	set := t.with(series{consumer: consumer, name: operationKey, value: operation, failed: errorType(err)})
	t.instruments.operations.Record(ctx, c.seconds(), set.record...)
}

// phase measures a phase of a transaction. It has a span where the transaction's is recorded.
func phase[E any](t *Telemetry, name string, result func(E) (fresh int, err error)) idem.Hook[idem.Op, E] {
	return idem.Hook[idem.Op, E]{
		Begin: func(ctx context.Context, op idem.Op) context.Context {
			c := t.begin(ctx)
			if trace.SpanFromContext(ctx).IsRecording() {
				c.Context, c.span = t.tracer.Start(ctx, name, trace.WithAttributes(consumerKey.String(op.Consumer), eventsKey.Int(op.Events)))
			}

			return c
		},
		End: func(ctx context.Context, op idem.Op, end E) {
			c := t.callOf(ctx)
			fresh, err := result(end)
			t.measure(ctx, c, name, op.Consumer, err)
			if c.span == nil {
				return
			}
			if name == claim && err == nil {
				c.span.SetAttributes(newKey.Int(fresh))
			}
			endSpan(c.span, err)
		},
	}
}

// Values of idem.outcome for passes of cleanup.
const (
	complete  = "complete"
	failed    = "failed"
	elsewhere = "elsewhere" // another process is cleaning up
)

func (t *Telemetry) beginCleanup(ctx context.Context, _ idem.Op) context.Context {
	c := t.begin(ctx)
	c.Context, c.span = t.tracer.Start(ctx, "cleanup", trace.WithNewRoot())

	return c
}

func (t *Telemetry) endCleanup(ctx context.Context, _ idem.Op, end idem.CleanupEnd) {
	outcome := elsewhere
	switch {
	case end.Err != nil:
		outcome = failed
	case end.Report.Complete:
		outcome = complete
	}
	t.instruments.cleanupDeleted.Add(ctx, end.Report.Deleted, t.with(series{}).add...)
	t.instruments.cleanupPasses.Add(ctx, 1, t.with(series{name: outcomeKey, value: outcome}).add...)
	endSpan(t.callOf(ctx).span, end.Err)
}

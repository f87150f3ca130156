package idemotel

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/nova-events/idempotent-consumer/idem"
)

// nest returns a hook that calls inner within outer. inner's Begin gets the context of outer's, and both Ends get
// inner's, if it is made of outer's.
func nest[B, E any](t *Telemetry, outer, inner idem.Hook[B, E]) idem.Hook[B, E] {
	nested := outer
	if inner.Begin != nil {
		nested.Begin = func(ctx context.Context, b B) context.Context {
			ctx = outer.Begin(ctx, b)
			if begun := inner.Begin(ctx, b); begun != nil && t.callOf(begun) == t.callOf(ctx) {
				return begun
			}

			return ctx
		}
	}
	if inner.End != nil {
		nested.End = func(ctx context.Context, b B, e E) {
			inner.End(ctx, b, e)
			outer.End(ctx, b, e)
		}
	}

	return nested
}

// call is the context of what a hook has begun to watch.
type call struct {
	context.Context //nolint:containedctx // It is one.

	of    *Telemetry
	began time.Time
	span  trace.Span // nil: none
	// transaction is set for a consumer's try to process records, whose counts and span are those of the guard's call in
	// it, too.
	transaction bool
}

// Value returns the call itself by its Telemetry.
func (c *call) Value(key any) any {
	if key == any(c.of) {
		return c
	}

	return c.Context.Value(key)
}

// callOf returns the innermost call, or nil.
func (t *Telemetry) callOf(ctx context.Context) *call {
	c, _ := ctx.Value(t).(*call)

	return c
}

// begin returns a call without a span.
func (t *Telemetry) begin(ctx context.Context) *call {
	return &call{Context: ctx, of: t, began: time.Now()}
}

func (c *call) seconds() float64 { return time.Since(c.began).Seconds() }

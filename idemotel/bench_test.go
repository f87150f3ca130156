package idemotel_test

import (
	"context"
	"fmt"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/idemotel"
)

// BenchmarkTransaction calls all hooks of a transaction, which does nothing itself.
func BenchmarkTransaction(b *testing.B) {
	for name, change := range map[string]func(*idemotel.Config){
		"metrics": func(c *idemotel.Config) { c.TracerProvider = noop.NewTracerProvider() },
		"traces-none-sampled": func(c *idemotel.Config) {
			c.TracerProvider = sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample()), sdktrace.WithBatcher(tracetest.NewNoopExporter()))
		},
		"traces-all-sampled": func(c *idemotel.Config) {
			c.TracerProvider = sdktrace.NewTracerProvider(sdktrace.WithBatcher(tracetest.NewNoopExporter()))
		},
	} {
		for _, size := range []int{1, 500} {
			b.Run(fmt.Sprintf("%s/records=%d", name, size), func(b *testing.B) {
				o := setup(b, change)
				consumer, guard := o.ConsumeHooks(consume.Hooks{}), o.GuardHooks(idem.Hooks{})
				messages := make([]consume.Message, size)
				for i := range messages {
					messages[i] = sent(int64(i))
				}
				begin := consume.ProcessBegin{Kind: idem.OpBatch, Messages: consume.MessagesOf(messages...)}
				op := idem.Op{Kind: idem.OpBatch, Consumer: "billing", Events: size}
				b.ReportAllocs()
				for b.Loop() {
					around(b.Context(), consumer.Process, begin, consume.ProcessEnd{Processed: size}, func(ctx context.Context) {
						around(ctx, guard.Batch, op, idem.BatchEnd{}, func(ctx context.Context) {
							around(ctx, guard.Claim, op, idem.ClaimEnd{New: size}, nil)
							around(ctx, guard.Handler, op, idem.HandlerEnd{}, nil)
							around(ctx, guard.Commit, op, idem.CommitEnd{}, nil)
						})
					})
				}
			})
		}
	}
}

// around calls a hook around what is within.
func around[B, E any](ctx context.Context, hook idem.Hook[B, E], begin B, end E, within func(ctx context.Context)) {
	ctx = hook.Begin(ctx, begin)
	if within != nil {
		within(ctx)
	}
	hook.End(ctx, begin, end)
}

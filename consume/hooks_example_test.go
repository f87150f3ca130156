package consume_test

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
)

// span is what Begin puts into the context, for End and for the spans within.
type span struct {
	name    string
	parent  *span
	links   []string // traces of the producers
	started time.Time
}

type spanKey struct{}

func spanOf(ctx context.Context) *span {
	s, _ := ctx.Value(spanKey{}).(*span)

	return s
}

func begin(ctx context.Context, name string, messages consume.Messages) context.Context {
	s := &span{name: name, parent: spanOf(ctx), started: time.Now()}
	for m := range messages.All {
		if trace := consume.HeaderCarrier(m.Headers).Get("traceparent"); trace != "" && !slices.Contains(s.links, trace) {
			s.links = append(s.links, trace)
		}
	}

	return context.WithValue(ctx, spanKey{}, s)
}

// histogram counts durations by their upper bounds, for use by one goroutine.
type histogram struct {
	bounds []time.Duration
	counts []int // one more than bounds
}

func (h *histogram) observe(d time.Duration) {
	i, _ := slices.BinarySearch(h.bounds, d)
	h.counts[i]++
}

// A span for each transaction with links to the producers of its records, the spans of handlers within, and
// a histogram of how long transactions take.
func ExampleHooks() {
	took := histogram{bounds: []time.Duration{10 * time.Minute}, counts: make([]int, 2)}
	hooks := consume.Hooks{
		Process: idem.Hook[consume.ProcessBegin, consume.ProcessEnd]{
			Begin: func(ctx context.Context, b consume.ProcessBegin) context.Context {
				return begin(ctx, fmt.Sprint("process ", b.Messages.First.Topic), b.Messages)
			},
			End: func(ctx context.Context, _ consume.ProcessBegin, e consume.ProcessEnd) {
				s := spanOf(ctx)
				took.observe(time.Since(s.started))
				fmt.Println(s.name, s.links, e.Processed, "processed", e.Duplicates, "duplicates", e.Err)
				for kind, n := range e.DuplicateKinds {
					if n > 0 {
						fmt.Println(n, idem.DuplicateKind(kind))
					}
				}
			},
		},
		Handler: idem.Hook[consume.HandlerBegin, consume.HandlerEnd]{
			Begin: func(ctx context.Context, b consume.HandlerBegin) context.Context {
				return begin(ctx, fmt.Sprint("handle ", b.Messages.First.Offset), b.Messages)
			},
			End: func(ctx context.Context, _ consume.HandlerBegin, e consume.HandlerEnd) {
				s := spanOf(ctx)
				fmt.Println(s.name, s.links, "in", s.parent.name, e.Err)
			},
		},
	}

	// They are for Config.Hooks. This is what a consumer does with them for two records that share a
	// transaction, one of which is a duplicate.
	records := []consume.Message{
		{Record: consume.Record{Topic: "orders", Offset: 41, Headers: []consume.RecordHeader{{Key: "traceparent", Value: []byte("trace-1")}}}},
		{Record: consume.Record{Topic: "orders", Offset: 42, Headers: []consume.RecordHeader{{Key: "traceparent", Value: []byte("trace-2")}}}},
	}
	batch, one := consume.ProcessBegin{Kind: idem.OpBatch, Messages: consume.MessagesOf(records...)}, consume.HandlerBegin{Messages: consume.MessagesOf(records[1])}
	processing := hooks.Process.Begin(context.Background(), batch)
	handling := hooks.Handler.Begin(processing, one)
	hooks.Handler.End(handling, one, consume.HandlerEnd{})
	hooks.Process.End(processing, batch, consume.ProcessEnd{
		Processed: 1, Duplicates: 1, DuplicateKinds: idem.DuplicateCounts{idem.DuplicateProducedAgain: 1},
	})
	fmt.Println(took.counts)
	// Output:
	// handle 42 [trace-2] in process orders <nil>
	// process orders [trace-1 trace-2] 1 processed 1 duplicates <nil>
	// 1 produced again
	// [1 0]
}

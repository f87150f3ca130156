package idemotel

import (
	"context"
	"iter"

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/outbox"
)

// Values of idem.outcome for records of the outbox.
const (
	delivered = "delivered"
	parked    = "parked"
	waits     = "waiting" // and failed
)

// OutboxHooks returns hooks for outbox.Config. They call those of inner, which may be empty, within their own: inner finds the
// spans in the context.
func (t *Telemetry) OutboxHooks(inner outbox.Hooks) outbox.Hooks {
	for _, outcome := range []string{delivered, failed, parked, waits} { // They begin at zero, as those of acquired.
		t.countRecords(context.Background(), 0, outcome)
	}

	return outbox.Hooks{
		Turn:    nest(t, idem.Hook[outbox.TurnBegin, outbox.TurnEnd]{Begin: t.beginTurn, End: t.endTurn}, inner.Turn),
		Produce: nest(t, idem.Hook[outbox.ProduceBegin, outbox.ProduceEnd]{Begin: t.beginProduce, End: t.endProduce}, inner.Produce),
	}
}

func (t *Telemetry) countRecords(ctx context.Context, n int, outcome string) {
	t.instruments.relayed.Add(ctx, int64(n), t.with(series{name: outcomeKey, value: outcome}).add...)
}

func (t *Telemetry) beginTurn(ctx context.Context, _ outbox.TurnBegin) context.Context {
	return t.begin(ctx)
}

// relaySpan begins the span of a turn. It is called for what produces records or fails: a relay that has nothing to do takes turns
// all the time.
func (t *Telemetry) relaySpan(turn *call) {
	if turn.span == nil {
		_, turn.span = t.tracer.Start(turn.Context, "relay", trace.WithNewRoot(), trace.WithTimestamp(turn.began))
	}
}

func (t *Telemetry) endTurn(ctx context.Context, _ outbox.TurnBegin, end outbox.TurnEnd) {
	turn := t.callOf(ctx)
	t.instruments.turns.Add(ctx, 1, t.with(series{failed: errorType(end.Err)}).add...)
	if end.Oldest > 0 {
		t.instruments.waited.Record(ctx, end.Oldest.Seconds(), t.with(series{}).record...)
	}
	if end.Err == nil { // Otherwise they will be sent again.
		for outcome, n := range map[string]int{delivered: end.Delivered, failed: end.Failed, parked: end.Parked, waits: end.Waiting} {
			t.countRecords(ctx, n, outcome)
		}
	} else {
		t.relaySpan(turn)
	}
	if turn.span != nil {
		endSpan(turn.span, end.Err)
	}
}

func (t *Telemetry) beginProduce(ctx context.Context, begin outbox.ProduceBegin) context.Context {
	c := t.begin(ctx)
	if turn := t.callOf(ctx); turn != nil {
		t.relaySpan(turn)
		ctx = trace.ContextWithSpan(ctx, turn.span)
	}
	c.Context, c.span = t.start(ctx, send, topicOf(begin.Records), trace.WithSpanKind(trace.SpanKindClient))
	if c.span.IsRecording() {
		t.linkProducers(ctx, c.span, headersOf(begin.Records))
		c.span.SetAttributes(semconv.MessagingBatchMessageCount(len(begin.Records)))
	}

	return c
}

func (t *Telemetry) endProduce(ctx context.Context, begin outbox.ProduceBegin, end outbox.ProduceEnd) {
	c := t.callOf(ctx)
	var first error
	same, n := series{}, int64(0)
	for i, record := range begin.Records {
		var err error
		if i < len(end.Errs) {
			err = end.Errs[i]
		}
		if first == nil {
			first = err
		}
		if next := (series{operation: send, topic: record.Topic, failed: errorType(err)}); next != same {
			t.countSent(ctx, n, same)
			same, n = next, 0
		}
		n++
	}
	t.countSent(ctx, n, same)
	set := t.with(series{operation: send, topic: topicOf(begin.Records), failed: errorType(first)})
	t.instruments.operation.Inst().Record(ctx, c.seconds(), set.record...)
	endSpan(c.span, first)
}

func (t *Telemetry) countSent(ctx context.Context, n int64, s series) {
	if n > 0 {
		t.instruments.sent.Inst().Add(ctx, n, t.with(s).add...)
	}
}

// topicOf returns the topic of all records, or "" if they are of several.
func topicOf(records []outbox.Record) string {
	topic := records[0].Topic
	for _, record := range records {
		if record.Topic != topic {
			return ""
		}
	}

	return topic
}

func headersOf(records []outbox.Record) iter.Seq[[]consume.RecordHeader] {
	return func(yield func([]consume.RecordHeader) bool) {
		for _, record := range records {
			if !yield(record.Headers) {
				return
			}
		}
	}
}

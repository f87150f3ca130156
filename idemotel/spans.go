package idemotel

import (
	"context"
	"iter"
	"strconv"
	"unicode/utf8"

	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
)

// maxLinks is how many producers a span links to. SDKs keep as many by default.
const maxLinks = 128

// startRoot begins a span that has no parent: Run's context may have one, which would last as long as the process.
func (t *Telemetry) startRoot(ctx context.Context, op operation, topic string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	return t.start(ctx, op, topic, append(options, trace.WithNewRoot())...)
}

func (t *Telemetry) start(ctx context.Context, op operation, topic string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	name := string(op)
	if topic != "" {
		name += " " + topic
	}
	ctx, span := t.tracer.Start(ctx, name, append(options, t.with(series{operation: op, topic: topic}).span)...)
	if t.config.ClientID != "" && span.IsRecording() {
		span.SetAttributes(semconv.MessagingClientID(t.config.ClientID))
	}

	return ctx, span
}

// endSpan ends a span with how what it is of has ended.
func endSpan(span trace.Span, err error) {
	if err != nil && span.IsRecording() {
		span.SetAttributes(semconv.ErrorTypeKey.String(errorType(err)))
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}

func (t *Telemetry) describeFetch(span trace.Span, begin consume.FetchBegin, end consume.FetchEnd) {
	if span.IsRecording() {
		span.SetAttributes(
			semconv.MessagingDestinationPartitionID(strconv.Itoa(int(begin.Partition))),
			semconv.MessagingBatchMessageCount(end.Records), firstKey.Int64(begin.Offset),
		)
	}
}

// startProcess begins the span of a try to process records.
func (t *Telemetry) startProcess(ctx context.Context, begin consume.ProcessBegin) (context.Context, trace.Span) {
	op, kind := process, trace.SpanKindConsumer
	if begin.Kind == idem.OpStoreDeadLetter {
		op, kind = storeDeadLetter, trace.SpanKindInternal
	}
	first := begin.Messages.First
	options := append(make([]trace.SpanStartOption, 0, 4), trace.WithSpanKind(kind))
	if begin.Messages.Count > 1 {
		ctx, span := t.startRoot(ctx, op, first.Topic, options...)
		if span.IsRecording() {
			t.linkProducers(ctx, span, func(yield func([]consume.RecordHeader) bool) {
				begin.Messages.All(func(m consume.Message) bool { return yield(m.Headers) })
			})
			span.SetAttributes(
				semconv.MessagingDestinationPartitionID(strconv.Itoa(int(first.Partition))),
				semconv.MessagingBatchMessageCount(begin.Messages.Count), firstKey.Int64(first.Offset),
			)
		}

		return ctx, span
	}

	ctx = t.extract(ctx, first.Headers) // With the baggage, too.
	switch producer := trace.SpanContextFromContext(ctx); {
	case t.config.ProducerParent:
	case producer.IsValid():
		options = append(options, trace.WithNewRoot(), trace.WithLinks(trace.Link{SpanContext: producer}))
	default:
		options = append(options, trace.WithNewRoot())
	}
	ctx, span := t.start(ctx, op, first.Topic, options...)
	if span.IsRecording() {
		describeRecord(span, first)
	}

	return ctx, span
}

func describeRecord(span trace.Span, m consume.Message) {
	span.SetAttributes(
		semconv.MessagingDestinationPartitionID(strconv.Itoa(int(m.Partition))), semconv.MessagingKafkaOffset(int(m.Offset)), attemptKey.Int(m.Attempt),
	)
	if m.EventID != "" {
		span.SetAttributes(eventIDKey.String(m.EventID))
	}
	if m.Key != nil && utf8.Valid(m.Key) {
		span.SetAttributes(semconv.MessagingKafkaMessageKey(string(m.Key)))
	}
	if m.Value == nil {
		span.SetAttributes(semconv.MessagingKafkaMessageTombstone(true))
	}
}

// extract returns a context with what the producer of a record has put into its headers, and without any other span.
func (t *Telemetry) extract(ctx context.Context, headers []consume.RecordHeader) context.Context {
	return t.config.Propagator.Extract(trace.ContextWithSpanContext(ctx, trace.SpanContext{}), consume.HeaderCarrier(headers))
}

// linkProducers links a span to the first spans in which its records were made, each once.
func (t *Telemetry) linkProducers(ctx context.Context, span trace.Span, records iter.Seq[[]consume.RecordHeader]) {
	type source struct {
		trace trace.TraceID
		span  trace.SpanID
	}
	linked := make(map[source]bool)
	for headers := range records {
		producer := trace.SpanContextFromContext(t.extract(ctx, headers))
		from := source{producer.TraceID(), producer.SpanID()}
		if !producer.IsValid() || linked[from] {
			continue
		}
		span.AddLink(trace.Link{SpanContext: producer})
		if linked[from] = true; len(linked) == maxLinks {
			return
		}
	}
}

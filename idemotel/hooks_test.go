package idemotel_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/idemotel"
)

// These tests call the hooks as a consumer and a guard do. e2e has those with a consumer.

type bench struct {
	*idemotel.Telemetry

	tracer trace.Tracer // of the service
	spans  *tracetest.SpanRecorder
	reader *sdkmetric.ManualReader
}

func setup(t testing.TB, change func(*idemotel.Config)) bench {
	t.Helper()
	b := bench{spans: tracetest.NewSpanRecorder(), reader: sdkmetric.NewManualReader()}
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(b.spans))
	config := idemotel.Config{
		MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(b.reader)), TracerProvider: tracers,
		Propagator: propagation.TraceContext{}, Group: "billing",
	}
	if change != nil {
		change(&config)
	}
	telemetry, err := idemotel.New(config)
	if err != nil {
		t.Fatal(err)
	}
	b.Telemetry, b.tracer = telemetry, tracers.Tracer("service")

	return b
}

// sent is a record that was sent in a trace of its own.
func sent(offset int64) consume.Message {
	m := consume.Message{EventID: fmt.Sprint("event-", offset), Attempt: 1}
	m.Topic, m.Partition, m.Offset, m.Key = "orders", 3, offset, []byte("alice")
	m.Headers = []consume.RecordHeader{{Key: "traceparent", Value: fmt.Appendf(nil, "00-%032x-%016x-01", offset+1, offset+1)}}

	return m
}

// try calls the hooks around a try to process records.
func (b bench) try(ctx context.Context, end consume.ProcessEnd, messages ...consume.Message) {
	hook := b.ConsumeHooks(consume.Hooks{}).Process
	begin := consume.ProcessBegin{Kind: idem.OpBatch, Messages: consume.MessagesOf(messages...)}
	hook.End(hook.Begin(ctx, begin), begin, end)
}

// last is the span that ended last.
func (b bench) last(t *testing.T) sdktrace.ReadOnlySpan {
	t.Helper()
	ended := b.spans.Ended()
	if len(ended) == 0 {
		t.Fatal("no span has ended")
	}

	return ended[len(ended)-1]
}

// Run's context may be in a trace, which is none of the records'.
func TestProcessBeginsATrace(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	running, _ := b.tracer.Start(t.Context(), "run")
	for _, messages := range [][]consume.Message{{sent(7)}, {sent(7), sent(8)}} {
		b.try(running, consume.ProcessEnd{}, messages...)
		span := b.last(t)
		if span.Parent().IsValid() || len(span.Links()) != len(messages) {
			t.Errorf("%d records: parent %v, links %v", len(messages), span.Parent(), span.Links())
		}
		for i, link := range span.Links() {
			if want := fmt.Sprintf("%032x", messages[i].Offset+1); link.SpanContext.TraceID().String() != want {
				t.Errorf("link %d leads to %v, want %s", i, link.SpanContext.TraceID(), want)
			}
		}
	}
}

func TestProducerParent(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *idemotel.Config) { c.ProducerParent = true })
	running, _ := b.tracer.Start(t.Context(), "run")
	b.try(running, consume.ProcessEnd{}, sent(7))
	if span := b.last(t); span.Parent().SpanID().String() != "0000000000000008" || !span.Parent().IsRemote() || len(span.Links()) != 0 {
		t.Errorf("with the producer's span: parent %v, links %v", span.Parent(), span.Links())
	}
	unsent := sent(7)
	unsent.Headers = nil
	b.try(running, consume.ProcessEnd{}, unsent)
	if span := b.last(t); span.Parent().IsValid() {
		t.Errorf("without one: parent %v", span.Parent())
	}
	b.try(running, consume.ProcessEnd{}, sent(7), sent(8))
	if span := b.last(t); span.Parent().IsValid() || len(span.Links()) != 2 {
		t.Errorf("of two records: parent %v, links %v", span.Parent(), span.Links())
	}
}

func TestLinksAreBounded(t *testing.T) {
	t.Parallel()
	recorder := tracetest.NewSpanRecorder()
	limits := sdktrace.NewSpanLimits()
	limits.LinkCountLimit = -1
	b := setup(t, func(c *idemotel.Config) {
		c.TracerProvider = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder), sdktrace.WithRawSpanLimits(limits))
	})
	b.spans = recorder
	messages := []consume.Message{sent(0), sent(0), sent(0)} // Of one producer's span.
	for offset := range int64(500) {
		messages = append(messages, sent(offset))
	}
	b.try(t.Context(), consume.ProcessEnd{Processed: 500, Duplicates: 3}, messages...)
	links := b.last(t).Links()
	producers := map[trace.SpanID]bool{}
	for _, link := range links {
		producers[link.SpanContext.SpanID()] = true
	}
	if len(links) != 128 || len(producers) != 128 {
		t.Errorf("%d links to %d producers, want 128 to 128", len(links), len(producers))
	}
}

func TestSpanSaysWhatFailed(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.try(t.Context(), consume.ProcessEnd{Err: fmt.Errorf("insert: %w", &pgconn.PgError{Code: "23505"})}, sent(7))
	span := b.last(t)
	said := attribute.NewSet(span.Attributes()...)
	for key, want := range map[attribute.Key]string{
		"error.type": "23505", "messaging.destination.name": "orders", "messaging.destination.partition.id": "3", "messaging.kafka.offset": "7",
		"messaging.kafka.message.key": "alice", "messaging.consumer.group.name": "billing", "messaging.operation.name": "process",
		"messaging.operation.type": "process", "messaging.system": "kafka", "idem.event.id": "event-7", "idem.attempt": "1",
		"messaging.kafka.message.tombstone": "true",
	} {
		if got, _ := said.Value(key); got.String() != want {
			t.Errorf("%s is %q, want %q", key, got.String(), want)
		}
	}
	if span.Name() != "process orders" || span.SpanKind() != trace.SpanKindConsumer || span.Status().Code != codes.Error {
		t.Errorf("span %q, kind %v, status %v", span.Name(), span.SpanKind(), span.Status())
	}
}

// What a service's own hooks return reaches both Ends; a context that is not made of the given one reaches neither.
func TestNestedHooks(t *testing.T) {
	t.Parallel()
	type key struct{}
	for name, test := range map[string]struct {
		begin func(context.Context) context.Context
		want  any
	}{
		"value":   {func(ctx context.Context) context.Context { return context.WithValue(ctx, key{}, "mine") }, "mine"},
		"none":    {func(context.Context) context.Context { return nil }, nil},
		"foreign": {func(context.Context) context.Context { return context.WithValue(context.Background(), key{}, "lost") }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, nil)
			var ended any
			hook := b.GuardHooks(idem.Hooks{Process: idem.Hook[idem.Op, idem.ProcessEnd]{
				Begin: func(ctx context.Context, _ idem.Op) context.Context {
					if !trace.SpanFromContext(ctx).IsRecording() {
						t.Error("the inner Begin got no span")
					}

					return test.begin(ctx)
				},
				End: func(ctx context.Context, _ idem.Op, _ idem.ProcessEnd) { ended = ctx.Value(key{}) },
			}}).Process
			op := idem.Op{Kind: idem.OpProcess, Consumer: "payments", EventID: "event-1", Events: 1}
			hook.End(hook.Begin(t.Context(), op), op, idem.ProcessEnd{Outcome: idem.Processed})
			if ended != test.want {
				t.Errorf("the inner End found %v, want %v", ended, test.want)
			}
			if span := b.last(t); span.Name() != "process payments" {
				t.Errorf("span %q", span.Name())
			}
		})
	}
}

// Two of them, of two providers for instance, do not take each other's calls for theirs.
func TestTwoTelemetries(t *testing.T) {
	t.Parallel()
	inner, outer := setup(t, nil), setup(t, nil)
	hook := outer.GuardHooks(inner.GuardHooks(idem.Hooks{})).Batch
	op := idem.Op{Kind: idem.OpBatch, Consumer: "payments", Events: 2}
	hook.End(hook.Begin(t.Context(), op), op, idem.BatchEnd{Results: []idem.BatchResult{{Outcome: idem.Processed}, {Outcome: idem.AlreadyProcessed}}})
	for _, b := range []bench{inner, outer} {
		if n := len(b.spans.Ended()); n != 1 {
			t.Errorf("%d spans ended, want 1", n)
		}
		want := "idem.events{idem.consumer=payments,idem.duplicate.kind=unknown,idem.outcome=duplicate,messaging.consumer.group.name=billing} 1\nidem.events{idem.consumer=payments,idem.outcome=processed,messaging.consumer.group.name=billing} 1\n"
		if got := b.sums(t); got != want {
			t.Errorf("counted\n%swant\n%s", got, want)
		}
	}
}

// sums are the counters.
func (b bench) sums(t *testing.T) string {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := b.reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if sum, ok := m.Data.(metricdata.Sum[int64]); ok {
				for _, point := range sum.DataPoints {
					fmt.Fprintf(&lines, "%s{%s} %d\n", m.Name, point.Attributes.Encoded(attribute.DefaultEncoder()), point.Value)
				}
			}
		}
	}

	return sortLines(lines.String())
}

func TestObserve(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	b := setup(t, nil)
	registration, err := b.Observe(snapshot{
		At: now, State: consume.Joined, Group: "billing", Partitions: []consume.PartitionHealth{
			{Topic: "orders", Partition: 0, State: consume.Idle, Since: now.Add(-time.Hour), LastSuccess: now.Add(-time.Hour)},
			{Topic: "orders", Partition: 1, State: consume.Paused, Since: now.Add(-time.Second), LastSuccess: now.Add(-time.Minute), Lag: 17},
			{Topic: "orders", Partition: 2, State: consume.Acquiring, Since: now.Add(-time.Second), Lag: -1},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `idem.checkpoint.age 0 0
idem.checkpoint.age 1 60
idem.checkpoint.age 2 1
idem.lag 0 0
idem.lag 1 17
idem.member.state joined 1
idem.partition.state 0 idle 1
idem.partition.state 1 paused 1
idem.partition.state 2 acquiring 1
`
	if got := b.gauges(t); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if err := registration.Unregister(); err != nil {
		t.Error(err)
	}
	if got := b.gauges(t); got != "" {
		t.Errorf("after Unregister:\n%s", got)
	}
}

type snapshot consume.Health

func (s snapshot) Health() consume.Health { return consume.Health(s) }

// gauges are those of Observe, without the states that are 0.
func (b bench) gauges(t *testing.T) string {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := b.reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	line := func(name string, attributes attribute.Set, value any) {
		state, isState := attributes.Value("idem.state")
		if isState && value == any(int64(0)) {
			return
		}
		words := []string{name}
		if partition, found := attributes.Value("messaging.destination.partition.id"); found {
			words = append(words, partition.String())
		}
		if isState {
			words = append(words, state.String())
		}
		fmt.Fprintln(&lines, strings.Join(words, " "), value)
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch gauge := m.Data.(type) {
			case metricdata.Gauge[int64]:
				for _, point := range gauge.DataPoints {
					line(m.Name, point.Attributes, point.Value)
				}
			case metricdata.Gauge[float64]:
				for _, point := range gauge.DataPoints {
					line(m.Name, point.Attributes, point.Value)
				}
			}
		}
	}

	return sortLines(lines.String())
}

func TestErrorTypes(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"panic": consume.NewPanicError("boom"), "handler_timeout": consume.ErrHandlerTimeout, "timeout": context.DeadlineExceeded, "canceled": context.Canceled,
		"fenced": fmt.Errorf("%w, %w", idem.ErrOutcomeUnknown, idem.ErrFenced), "outcome_unknown": idem.ErrOutcomeUnknown,
		"40P01": &pgconn.PgError{Code: "40P01"}, "transient": consume.Transient(errors.New("call")), "permanent": consume.Permanent(errors.New("call")), "_OTHER": errors.New("call"),
	} {
		b := setup(t, nil)
		b.try(t.Context(), consume.ProcessEnd{Err: err}, sent(7))
		said := attribute.NewSet(b.last(t).Attributes()...)
		if got, _ := said.Value("error.type"); got.AsString() != want {
			t.Errorf("error.type of %v is %q, want %q", err, got.AsString(), want)
		}
	}
}

func sortLines(text string) string {
	lines := slices.Collect(strings.Lines(text))
	slices.Sort(lines)

	return strings.Join(lines, "")
}

// Who chooses a group on the dashboard sees its cleanup, too.
func TestCleanupHasItsGroup(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	hook := b.CleanerHook(idem.Hook[idem.Op, idem.CleanupEnd]{})
	op := idem.Op{Kind: idem.OpCleanup}
	hook.End(hook.Begin(t.Context(), op), op, idem.CleanupEnd{})
	var all metricdata.ResourceMetrics
	if err := b.reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			sum, _ := m.Data.(metricdata.Sum[int64])
			for _, point := range sum.DataPoints {
				if group, _ := point.Attributes.Value("messaging.consumer.group.name"); group.AsString() != "billing" {
					t.Errorf("%s is of the group %q", m.Name, group.AsString())
				}
			}
		}
	}
}

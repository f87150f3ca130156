package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/idemotel"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// telemetry is what a service would export.
type telemetry struct {
	*idemotel.Telemetry

	reader *sdkmetric.ManualReader
	spans  *tracetest.SpanRecorder
}

func newTelemetry(t testing.TB, group string) telemetry {
	t.Helper()
	o := telemetry{reader: sdkmetric.NewManualReader(), spans: tracetest.NewSpanRecorder()}
	var err error
	o.Telemetry, err = idemotel.New(idemotel.Config{
		MeterProvider:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(o.reader)),
		TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(o.spans)),
		Propagator:     propagation.TraceContext{}, Group: group,
	})
	if err != nil {
		t.Fatal(err)
	}

	return o
}

// watch has a member report.
func (o telemetry) watch(c *settings) {
	c.Hooks, c.guardHooks = o.ConsumeHooks(c.Hooks), o.GuardHooks(c.guardHooks)
}

// traced are n records of one partition, each sent in a trace of its own.
func traced(n int) []kafka.Message {
	all := events(0, n, 1)
	for i := range all {
		all[i].Headers = append(all[i].Headers, kafka.Header{Key: "traceparent", Value: fmt.Appendf(nil, "00-%032x-%016x-01", i+1, i+1)})
	}

	return all
}

// What is counted is what has happened: of ten records one is a duplicate, one becomes a dead letter, and one is tried twice.
func TestMetrics(t *testing.T) {
	t.Parallel()
	b := broker.InProcess(t)
	for name, use := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, b, 1)
			records := traced(10)
			records[9] = records[0] // The same event.
			s.broker.Write(t, s.topic, records...)
			o := newTelemetry(t, s.group)
			m := s.start(t, func(c *settings) {
				use(c, func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
					switch {
					case m.Offset == 3:
						return consume.Permanent(errors.New("never"))
					case m.Offset == 5 && m.Attempt == 1:
						return errors.New("not yet")
					}

					return record(ctx, tx, m)
				})
				o.watch(c)
			})
			if _, err := o.Observe(m); err != nil {
				t.Fatal(err)
			}
			guard, err := idem.New(s.pool, idem.Config{Consumer: "test"})
			if err == nil {
				_, err = o.ObserveDeadLetters(guard)
			}
			if err != nil {
				t.Fatal(err)
			}
			s.awaitCommitted(t, 10)
			var points map[string]float64
			until(t, "the commit to be measured", func() bool {
				points = o.collect(t)

				return points["messaging.client.operation.duration commit"] > 0
			})
			for name, want := range map[string]float64{
				"messaging.client.consumed.messages poll": 10,
				"idem.events processed":                   8,
				"idem.events produced_again duplicate":    1,
				"idem.events redelivered duplicate":       0,
				"idem.events dead_letter":                 1,
				"idem.events replayed":                    0,
				"idem.retries _OTHER":                     1,
				"idem.dead_letters.stored":                1,
				"idem.dead_letters.open":                  1,
				"idem.rewinds":                            0,
				"idem.assignments.fenced":                 0,
				"idem.partitions.paused kafka":            0,
				"idem.lag 0":                              0,
				"idem.member.state joined":                1,
				"idem.member.state not running":           0,
				"idem.partition.state acquiring 0":        0,
			} {
				if got, found := points[name]; !found || got != want {
					t.Errorf("%s is %v, want %v", name, got, want)
				}
			}
			for _, name := range []string{
				"messaging.client.operation.duration poll", "messaging.client.operation.duration commit",
				"messaging.process.duration process", "messaging.process.duration process permanent",
				"idem.operation.duration claim", "idem.operation.duration handler", "idem.operation.duration handler permanent", "idem.operation.duration commit",
			} {
				if points[name] == 0 {
					t.Errorf("%s was never measured", name)
				}
			}
			if t.Failed() {
				for _, name := range slices.Sorted(maps.Keys(points)) {
					t.Log(name, points[name])
				}
			}
		})
	}
}

// labels are the attributes that metrics may have: none of them has a value for each record. Those that are false are the
// same everywhere in these tests.
var labels = map[attribute.Key]bool{
	"messaging.system": false, "messaging.operation.type": false, "messaging.consumer.group.name": false, "messaging.destination.name": false, "idem.consumer": false,
	"messaging.operation.name": true, "messaging.destination.partition.id": true, "idem.operation": true, "idem.outcome": true,
	"idem.state": true, "idem.pause.kind": true, "idem.duplicate.kind": true, "error.type": true,
}

// collect returns the metrics by their names and the values of their labels: sums, gauges and the counts of histograms.
func (o telemetry) collect(t *testing.T) map[string]float64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := o.reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	documented, err := os.ReadFile("../docs/telemetry.md")
	if err != nil {
		t.Fatal(err)
	}
	points := map[string]float64{}
	add := func(name string, attributes attribute.Set, value float64) {
		for _, a := range attributes.ToSlice() { // Sorted by their names, error.type first.
			tells, known := labels[a.Key]
			if !known {
				t.Errorf("%s has the label %s", name, a.Key)
			}
			if tells && a.Key != "error.type" {
				name += " " + a.Value.String()
			}
		}
		if failed, is := attributes.Value("error.type"); is {
			name += " " + failed.String()
		}
		points[name] += value
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if !bytes.Contains(documented, []byte("\n| `"+m.Name+"` | "+m.Unit)) {
				t.Errorf("docs/telemetry.md does not list %s in %s", m.Name, m.Unit)
			}
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					add(m.Name, p.Attributes, float64(p.Value))
				}
			case metricdata.Gauge[int64]:
				for _, p := range data.DataPoints {
					add(m.Name, p.Attributes, float64(p.Value))
				}
			case metricdata.Gauge[float64]:
				for _, p := range data.DataPoints {
					add(m.Name, p.Attributes, p.Value)
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					add(m.Name, p.Attributes, float64(p.Count))
				}
			default:
				t.Errorf("%s is a %T", m.Name, data)
			}
		}
	}

	return points
}

// Each try is a trace of its own that links to the producers, with the claim, the handler and the COMMIT below; the handler
// finds its span.
func TestTraces(t *testing.T) {
	t.Parallel()
	b := broker.InProcess(t)
	for name, use := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, b, 1)
			s.broker.Write(t, s.topic, traced(4)...)
			o := newTelemetry(t, s.group)
			var mu sync.Mutex
			within := map[trace.SpanID]bool{}
			m := s.start(t, func(c *settings) {
				use(c, func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
					mu.Lock()
					within[trace.SpanContextFromContext(ctx).SpanID()] = true
					mu.Unlock()
					if m.Offset == 2 {
						return consume.Permanent(errors.New("never"))
					}

					return record(ctx, tx, m)
				})
				o.watch(c)
			})
			s.awaitCommitted(t, 4)
			m.leave(t)

			children := map[trace.SpanID][]string{}
			var handlers []trace.SpanID
			for _, span := range o.spans.Ended() { // Children end before their parents.
				of := span.Parent().SpanID()
				children[of] = append(children[of], span.Name())
				if span.Name() == "handler" {
					handlers = append(handlers, span.SpanContext().SpanID())
				}
			}
			for _, id := range handlers {
				if !within[id] {
					t.Errorf("no handler ran in its span %v", id)
				}
			}
			linked := map[trace.TraceID]bool{}
			var failed, processed int
			for _, span := range o.spans.Ended() {
				if span.Name() != "process "+s.topic {
					continue
				}
				for _, link := range span.Links() {
					linked[link.SpanContext.TraceID()] = true
				}
				below := children[span.SpanContext().SpanID()]
				switch span.Status().Code {
				case codes.Error:
					failed++
				default:
					processed++
					if !slices.Equal(below[len(below)-3:], []string{"claim", "handler", "commit"}) {
						t.Errorf("below a process there is %q", below)
					}
				}
				if span.Parent().IsValid() || span.SpanKind() != trace.SpanKindConsumer {
					t.Errorf("a process has the parent %v and is a %v", span.Parent(), span.SpanKind())
				}
			}
			roots := children[trace.SpanID{}]
			for _, root := range []string{"poll " + s.topic, "commit " + s.topic, "store_dead_letter " + s.topic} {
				if !slices.Contains(roots, root) {
					t.Errorf("no %q in %q", root, roots)
				}
			}
			if len(linked) != 4 || failed == 0 || processed == 0 {
				t.Errorf("linked to %d producers, %d tries failed, %d succeeded", len(linked), failed, processed)
			}
		})
	}
}

// A guard without Kafka reports by itself.
func TestTelemetryOfGuard(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	o := newTelemetry(t, "")
	guard, err := idem.New(s.pool, idem.Config{Consumer: "test", Hooks: o.GuardHooks(idem.Hooks{})})
	if err != nil {
		t.Fatal(err)
	}
	var inside string
	for range 2 {
		_, err := guard.ProcessIfNew(t.Context(), "event-1", func(ctx context.Context, _ pgx.Tx) error {
			inside = trace.SpanContextFromContext(ctx).SpanID().String()

			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := guard.MarkProcessed(t.Context(), "event-2"); err != nil {
		t.Fatal(err)
	}
	if _, err := guard.CleanupOldEvents(t.Context()); err != nil {
		t.Fatal(err)
	}
	points := o.collect(t)
	for name, want := range map[string]float64{
		"idem.events processed": 2, "idem.events unknown duplicate": 1, "idem.operation.duration process": 2, "idem.operation.duration claim": 2,
		"idem.operation.duration mark": 1, "idem.cleanup.deleted": 0, "idem.cleanup.passes complete": 1,
	} {
		if got, found := points[name]; !found || got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	var names []string
	for _, span := range o.spans.Ended() {
		names = append(names, span.Name())
		if id := span.SpanContext().SpanID().String(); (span.Name() == "handler") != (id == inside) {
			t.Errorf("the handler ran in the span %s, %s is %q", inside, id, span.Name())
		}
	}
	if want := []string{"claim", "handler", "commit", "process test", "claim", "process test", "mark test", "cleanup"}; !slices.Equal(names, want) {
		t.Errorf("spans %q, want %q", names, want)
	}
}

// A collection of metrics does not hang where PostgreSQL does not answer, here because nobody gives a connection back.
func TestMetricsWithoutPostgreSQL(t *testing.T) {
	t.Parallel()
	pool := pgtest.NewDB(t).Pool(t, pgtest.MaxConns(1))
	guard, err := idem.New(pool, idem.Config{Consumer: "test"})
	if err != nil {
		t.Fatal(err)
	}
	o := newTelemetry(t, "")
	o.CleanerHook(idem.Hook[idem.Op, idem.CleanupEnd]{})
	if _, err := o.ObserveDeadLetters(guard); err != nil {
		t.Fatal(err)
	}
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var all metricdata.ResourceMetrics
	err = o.reader.Collect(ctx, &all)
	if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the collection ended with %v", err)
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if m.Name == "idem.cleanup.passes" {
				return
			}
		}
	}
	t.Errorf("the other metrics are missing: %v", all)
}

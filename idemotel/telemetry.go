package idemotel

import (
	"fmt"
	"sync"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

const scope = "github.com/nova-events/idempotent-consumer/idemotel"

// Config says where to report to. The zero value reports to the global providers.
type Config struct {
	// MeterProvider gets the metrics. Default: otel.GetMeterProvider.
	MeterProvider metric.MeterProvider

	// TracerProvider gets the spans. Default: otel.GetTracerProvider. Give one of trace/noop for none.
	TracerProvider trace.TracerProvider

	// Propagator reads from a record's headers which span its producer sent it in. Default:
	// otel.GetTextMapPropagator, which reads nothing before somebody has set it.
	Propagator propagation.TextMapPropagator

	// Group is the consumer's Kafka group. Default: none is reported.
	Group string

	// ClientID is the adapter's ClientID, for spans. Default: none is reported.
	ClientID string

	// ProducerParent makes the span of a record that is processed alone a child of its producer's span, in place
	// of linking to that. Its trace then goes on, with its sampling. Spans of several records always link.
	ProducerParent bool
}

// Telemetry reports what consumers and guards of one group do. Several may share it.
type Telemetry struct {
	config      Config
	tracer      trace.Tracer
	meter       metric.Meter
	instruments instruments

	mu   sync.RWMutex
	sets map[series]*attributeSet

	leased sync.Map // consumers whose counters have begun
}

// New returns a Telemetry. It fails if the MeterProvider refuses an instrument, because another one of the same name
// is of another kind, for instance.
func New(config Config) (*Telemetry, error) {
	if config.MeterProvider == nil {
		config.MeterProvider = otel.GetMeterProvider()
	}
	if config.TracerProvider == nil {
		config.TracerProvider = otel.GetTracerProvider()
	}
	if config.Propagator == nil {
		config.Propagator = otel.GetTextMapPropagator()
	}
	t := &Telemetry{
		config: config,
		tracer: config.TracerProvider.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL)),
		meter:  config.MeterProvider.Meter(scope, metric.WithSchemaURL(semconv.SchemaURL)),
		sets:   make(map[series]*attributeSet),
	}
	var err error
	if t.instruments, err = newInstruments(t.meter); err != nil {
		return nil, fmt.Errorf("idemotel: %w", err)
	}

	return t, nil
}

package main

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idemotel"
)

const (
	metricsName = "batch_metrics"
	tracesName  = "batch_traces"

	// sampling is the share of traces that are kept.
	sampling = 0.1
)

// consumeWithMetrics is consumeBatches with idemotel's metrics.
func consumeWithMetrics(ctx context.Context, f *feed) error {
	return consumeWatched(ctx, f, noop.NewTracerProvider())
}

// consumeWithTraces is the same with traces, too.
func consumeWithTraces(ctx context.Context, f *feed) (err error) {
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.TraceIDRatioBased(sampling)), sdktrace.WithBatcher(tracetest.NewNoopExporter()))
	defer func() { err = errors.Join(err, tracers.Shutdown(context.WithoutCancel(ctx))) }()

	return consumeWatched(ctx, f, tracers)
}

func consumeWatched(ctx context.Context, f *feed, tracers trace.TracerProvider) error {
	telemetry, err := idemotel.New(idemotel.Config{
		MeterProvider:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader())),
		TracerProvider: tracers, Propagator: propagation.TraceContext{}, Group: f.group,
	})
	if err != nil {
		return fmt.Errorf("make telemetry: %w", err)
	}

	return f.runWatched(ctx, consume.Config{HandleBatch: handleBatch, Batch: consume.BatchConfig{Size: f.batch}}, telemetry)
}

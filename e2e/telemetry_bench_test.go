package e2e_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/idemotel"
)

// BenchmarkTelemetry consumes one partition without telemetry, with metrics, and with metrics and traces of which one in
// ten is sampled: "go test -run=- -bench=Telemetry -benchtime=5x". Their rounds alternate; the figures are the medians of
// the rates and of their ratios to the rate without.
func BenchmarkTelemetry(b *testing.B) {
	for name, form := range map[string]struct {
		use     func(*settings)
		records int
	}{
		"single": {func(c *settings) { c.OwnTransactions = true }, 3000},
		"batch":  {func(c *settings) { c.Handle, c.HandleBatch = nil, recordAll }, 60_000},
	} {
		b.Run(name, func(b *testing.B) {
			names := []string{"without", "metrics", "traces"}
			sampled := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(0.1))),
				sdktrace.WithBatcher(tracetest.NewNoopExporter()))
			defer sampled.Shutdown(b.Context()) //nolint:errcheck // Nothing is kept of it.
			tracers := map[string]trace.TracerProvider{"metrics": noop.NewTracerProvider(), "traces": sampled}
			rates, ratios := map[string][]float64{}, map[string][]float64{}
			for b.Loop() {
				for _, name := range names {
					rate := rateOfTelemetry(b, form.records, func(c *settings) {
						form.use(c)
						if tracers[name] != nil {
							watchWith(b, c, tracers[name])
						}
					})
					rates[name] = append(rates[name], rate)
					ratios[name] = append(ratios[name], rate/rates["without"][len(rates["without"])-1])
				}
			}
			b.ReportMetric(0, "ns/op")
			for _, name := range names {
				b.ReportMetric(median(rates[name]), name+"/s")
			}
			for _, name := range names[1:] {
				b.ReportMetric(median(ratios[name]), name+"-ratio")
			}
		})
	}
}

// recordAll is record for a batch.
func recordAll(ctx context.Context, tx pgx.Tx, all []consume.Message) error {
	rows := make([][]any, len(all))
	for i, m := range all {
		rows[i] = []any{m.EventID, m.Partition, m.Offset, m.Attempt}
	}
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"public", "effects"}, []string{"event_id", "partition", "offset", "attempt"}, pgx.CopyFromRows(rows))

	return err
}

func watchWith(b *testing.B, c *settings, tracers trace.TracerProvider) {
	b.Helper()
	t, err := idemotel.New(idemotel.Config{
		MeterProvider:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader())),
		TracerProvider: tracers, Propagator: propagation.TraceContext{}, Group: c.Group,
	})
	if err != nil {
		b.Fatal(err)
	}
	telemetry{Telemetry: t}.watch(c)
}

func rateOfTelemetry(b *testing.B, records int, change func(*settings)) float64 {
	b.Helper()
	s := setup(b, broker.InProcess(b), 1)
	s.broker.Write(b, s.topic, traced(records)...)
	processed := make(chan int, records)
	m := s.start(b, func(c *settings) {
		c.Hooks.Process.End = func(_ context.Context, _ consume.ProcessBegin, end consume.ProcessEnd) { processed <- end.Processed }
		change(c)
	})
	rest := records - <-processed
	start, measured := time.Now(), rest
	for rest > 0 {
		rest -= <-processed
	}
	rate := float64(measured) / time.Since(start).Seconds()
	m.stop()
	if err := <-m.ended; err != nil {
		b.Error(err)
	}
	m.ended <- nil // for the cleanup

	return rate
}

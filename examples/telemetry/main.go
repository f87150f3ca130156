// Telemetry is a consumer with metrics for Prometheus, traces for OpenTelemetry, and probes for Kubernetes, all
// from one small HTTP server: /metrics, /livez and /readyz. It has an effect outside the transaction and an outbox, to be watched, too.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"golang.org/x/sync/errgroup"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/health"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/idemotel"
	"github.com/nova-events/idempotent-consumer/kafkaadapter"
	"github.com/nova-events/idempotent-consumer/lease"
	"github.com/nova-events/idempotent-consumer/outbox"
	"github.com/nova-events/idempotent-consumer/schema"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

const usage = `set DATABASE_URL and KAFKA_BROKERS (host:port,...), LISTEN for another address than localhost:8080, and
OTEL_EXPORTER_OTLP_ENDPOINT (http://host:4318) to send traces to. For the servers of examples/compose.yaml:
  docker compose up --detach --wait
  export DATABASE_URL=postgres://postgres:example@localhost:5432/postgres KAFKA_BROKERS=localhost:9092`

const group = "telemetry-service"

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	databaseURL, brokers := os.Getenv("DATABASE_URL"), os.Getenv("KAFKA_BROKERS")
	if databaseURL == "" || brokers == "" {
		return errors.New(usage)
	}
	telemetry, shutdown, err := newTelemetry(ctx)
	if err != nil {
		return err
	}
	defer shutdown()

	if err := migrate.Up(ctx, databaseURL, schema.DefaultName); err != nil {
		return err
	}
	config, err := pgxpool.ParseConfig(databaseURL)
	if err != nil {
		return err
	}
	config.MaxConns = 16 // Beside the handlers' transactions leases, the relay and the metrics need connections.
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	defer pool.Close()
	_, err = pool.Exec(ctx, `CREATE TABLE IF NOT EXISTS public.watched_orders (event_id text, customer text, cents bigint)`)
	if err != nil {
		return err
	}

	// Both kinds of hooks: those of the guard see the claim, the handler and the COMMIT.
	guard, err := idem.New(pool, idem.Config{Consumer: group, Hooks: telemetry.GuardHooks(idem.Hooks{})})
	if err != nil {
		return err
	}
	charges, err := idem.New(pool, idem.Config{Consumer: group + "-charges", Hooks: telemetry.GuardHooks(idem.Hooks{})})
	if err != nil {
		return err
	}
	leases, err := lease.New(charges, lease.Config{Hooks: telemetry.LeaseHooks(lease.Hooks{})})
	if err != nil {
		return err
	}
	consumer, err := kafkaadapter.New(guard, kafkaadapter.Config{
		Brokers: strings.Split(brokers, ","),
		Group:   group,
		Topics:  []string{"orders"},
	}, consume.Config{
		EventID: consume.Header("idempotency_key"),
		Handle:  service{leases}.handle,
		Hooks:   telemetry.ConsumeHooks(consume.Hooks{}),
	})
	if err != nil {
		return err
	}
	cleaner, err := idem.NewCleaner(pool, idem.CleanerConfig{Hook: telemetry.CleanerHook(idem.Hook[idem.Op, idem.CleanupEnd]{})})
	if err != nil {
		return err
	}
	producer, err := kafkaadapter.NewProducer(kafkaadapter.ProducerConfig{Brokers: strings.Split(brokers, ",")})
	if err != nil {
		return err
	}
	defer producer.Close()
	relay, err := outbox.NewRelay(pool, producer, outbox.Config{Hooks: telemetry.OutboxHooks(outbox.Hooks{})})
	if err != nil {
		return err
	}
	// Gauges: what the consumer and its partitions are doing, what waits for somebody, and what the outbox holds.
	if _, err := telemetry.Observe(consumer); err != nil {
		return err
	}
	if _, err := telemetry.ObserveDeadLetters(guard); err != nil {
		return err
	}
	if _, err := telemetry.ObserveLeases(leases); err != nil {
		return err
	}
	if _, err := telemetry.ObserveOutbox(relay); err != nil {
		return err
	}

	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.Handler())
	mux.Handle("/livez", health.Live(consumer, health.Limits{}))
	mux.Handle("/readyz", health.Ready(consumer, health.Limits{}))
	server := &http.Server{Addr: cmp.Or(os.Getenv("LISTEN"), "localhost:8080"), Handler: mux, ReadHeaderTimeout: 5 * time.Second}

	// If one of them fails, the others end, too. The server answers until the consumer has left its group.
	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() error { return cleaner.Run(ctx) })
	work.Go(func() error { return relay.Run(ctx) })
	work.Go(func() error {
		defer func() { _ = server.Close() }()

		return consumer.Run(ctx)
	})
	work.Go(func() error {
		if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			return err
		}

		return nil
	})

	return work.Wait()
}

// newTelemetry returns what reports to Prometheus' default registry and, if its variable is set, to a collector.
func newTelemetry(ctx context.Context) (telemetry *idemotel.Telemetry, shutdown func(), err error) {
	registry, err := prometheus.New()
	if err != nil {
		return nil, nil, err
	}
	var options []sdktrace.TracerProviderOption // OTEL_TRACES_SAMPLER says which traces are kept, by default all.
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" {
		exporter, err := otlptracehttp.New(ctx)
		if err != nil {
			return nil, nil, err
		}
		options = append(options, sdktrace.WithBatcher(exporter))
	}
	traces := sdktrace.NewTracerProvider(options...)
	telemetry, err = idemotel.New(idemotel.Config{
		MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(registry)), TracerProvider: traces,
		Propagator: propagation.TraceContext{}, Group: group,
	})

	return telemetry, func() { _ = traces.Shutdown(context.WithoutCancel(ctx)) }, err // What was not sent is lost.
}

type order struct {
	Customer string `json:"customer"`
	Cents    int64  `json:"cents"`
}

type service struct{ leases *lease.Leases }

// handle gets the context of the handler's span: an otelpgx tracer on the pool would put the INSERT below it, and the spans of the
// effect are below it, too.
func (s service) handle(ctx context.Context, tx pgx.Tx, m consume.Message) error {
	var o order
	if err := json.Unmarshal(m.Value, &o); err != nil {
		return consume.Permanent(fmt.Errorf("decode the order: %w", err))
	}
	receipt, _, err := lease.DoJSON(ctx, s.leases, m.EventID, charge, lease.Wait(time.Minute))
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `INSERT INTO public.watched_orders VALUES ($1, $2, $3)`, m.EventID, o.Customer, o.Cents); err != nil {
		return err
	}

	return outbox.Publish(ctx, tx, outbox.Record{Topic: "receipts", Key: []byte(o.Customer), Value: []byte(receipt)})
}

// charge stands for a request to a system that is asked with a.Key("charge"), by which it recognizes a repetition.
func charge(_ context.Context, a *lease.Attempt) (receipt string, err error) {
	return "receipt of " + a.EventID, nil
}

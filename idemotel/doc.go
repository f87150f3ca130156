// Package idemotel makes OpenTelemetry metrics and traces of what a consumer and its guard do, effects outside the transaction and the
// relay of an outbox, through their hooks.
//
//	telemetry, err := idemotel.New(idemotel.Config{Group: "payments"})
//	guard, err := idem.New(pool, idem.Config{Consumer: "payments", Hooks: telemetry.GuardHooks(idem.Hooks{})})
//	consumer, err := kafkaadapter.New(guard, kafkaConfig, consume.Config{Handle: handle, Hooks: telemetry.ConsumeHooks(consume.Hooks{})})
//	_, err = telemetry.Observe(consumer)
//
// Without Kafka, GuardHooks is enough. LeaseHooks and OutboxHooks are those of package lease and package outbox.
//
// # Names
//
// Metrics and spans of messaging have the names of OpenTelemetry's semantic conventions, version 1.43.0, which
// are in development; all others begin with "idem.". docs/telemetry.md lists them. The former conventions
// were never used here, so OTEL_SEMCONV_STABILITY_OPT_IN, which asks for both or for the new ones alone,
// changes nothing.
//
// Event ids, keys and offsets are in spans only, so that the number of time series is bounded: by topics, and for
// the gauges of Observe by partitions.
//
// # Traces
//
// A span for each try to process records in a transaction holds one for the claim, the handler and the COMMIT. It
// begins a trace of its own and links to the producers' spans. The handler's context carries the
// handler's span, in which pgx's tracers nest. Nothing is measured of statements: pgx's instrumentation does that.
package idemotel

package idemotel

import (
	"errors"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/semconv/v1.43.0/messagingconv"

	"github.com/nova-events/idempotent-consumer/consume"
)

// durations are the bounds that the conventions ask for, in seconds.
var durations = metric.WithExplicitBucketBoundaries(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)

// statementDurations begin lower: a claim takes less than a millisecond, unless it waits for somebody's transaction.
var statementDurations = metric.WithExplicitBucketBoundaries(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)

type instruments struct {
	consumed  messagingconv.ClientConsumedMessages
	sent      messagingconv.ClientSentMessages
	operation messagingconv.ClientOperationDuration
	process   messagingconv.ProcessDuration

	events     metric.Int64Counter
	operations metric.Float64Histogram
	paused     metric.Int64UpDownCounter
	fenced     metric.Int64Counter
	happened   map[consume.EventKind]metric.Int64Counter

	cleanupPasses  metric.Int64Counter
	cleanupDeleted metric.Int64Counter

	// Of effects outside the transaction.
	lookups, attempts metric.Int64Counter

	// Of the outbox.
	turns, relayed metric.Int64Counter
	waited         metric.Float64Histogram
}

// happenings are the counters of consume.Event.
var happenings = map[consume.EventKind]struct{ name, unit, description string }{
	consume.EventRetry:       {"idem.retries", "{retry}", "Handlers that failed and run again."},
	consume.EventDeadLetter:  {"idem.dead_letters.stored", "{dead_letter}", "Records and unreadable batches that became dead letters, and replays that failed."},
	consume.EventParked:      {"idem.dead_letters.parked", "{dead_letter}", "Records that were stored behind a dead letter of their key."},
	consume.EventSkipped:     {"idem.skips", "{skip}", "Places at which records were skipped."},
	consume.EventRewound:     {"idem.rewinds", "{rewind}", "Partitions that were read again because the database had lost commits."},
	consume.EventCollision:   {"idem.collisions", "{event}", "Event ids that were processed before with another value."},
	consume.EventHandlerSlow: {"idem.handlers.slow", "{handler}", "Minutes for which handlers, or EventID, had not returned."},
	consume.EventPoolWait:    {"idem.pool.waits", "{wait}", "Handlers for which the guard's pool had no connection to give for 5 s."},
}

func newInstruments(meter metric.Meter) (i instruments, err error) {
	var failed [14]error
	i.consumed, failed[0] = messagingconv.NewClientConsumedMessages(meter)
	i.operation, failed[1] = messagingconv.NewClientOperationDuration(meter, durations)
	i.process, failed[2] = messagingconv.NewProcessDuration(meter, durations)
	i.events, failed[3] = meter.Int64Counter("idem.events", metric.WithUnit("{event}"), metric.WithDescription("Events by what became of them."))
	i.operations, failed[4] = meter.Float64Histogram("idem.operation.duration", metric.WithUnit("s"), statementDurations,
		metric.WithDescription("Duration of the claim (with BEGIN and its wait for others), of the handler, of COMMIT, and of calls of the guard outside of a consumer."))
	i.paused, failed[5] = meter.Int64UpDownCounter("idem.partitions.paused", metric.WithUnit("{partition}"), metric.WithDescription("Pauses of partitions that last."))
	i.fenced, failed[6] = meter.Int64Counter("idem.assignments.fenced", metric.WithUnit("{partition}"),
		metric.WithDescription("Partitions that another owner had acquired before the group said so."))
	i.cleanupPasses, failed[7] = meter.Int64Counter("idem.cleanup.passes", metric.WithUnit("{pass}"), metric.WithDescription("Passes of cleanup by how they ended."))
	i.cleanupDeleted, err = meter.Int64Counter("idem.cleanup.deleted", metric.WithUnit("{event}"), metric.WithDescription("Events that were forgotten because their retention had passed."))
	i.lookups, failed[8] = meter.Int64Counter("idem.lease.lookups", metric.WithUnit("{lookup}"),
		metric.WithDescription("Looks at an event whose effect is outside the transaction, by what was known of it."))
	i.attempts, failed[9] = meter.Int64Counter("idem.lease.attempts", metric.WithUnit("{attempt}"), metric.WithDescription("Attempts at such an effect by how they ended."))
	i.sent, failed[10] = messagingconv.NewClientSentMessages(meter)
	i.turns, failed[11] = meter.Int64Counter("idem.outbox.turns", metric.WithUnit("{turn}"), metric.WithDescription("Turns of the outbox's relay."))
	i.relayed, failed[12] = meter.Int64Counter("idem.outbox.records", metric.WithUnit("{record}"), metric.WithDescription("Records of the outbox by what became of them in a turn."))
	i.waited, failed[13] = meter.Float64Histogram("idem.outbox.wait", metric.WithUnit("s"), statementDurations,
		metric.WithDescription("How long the first record of a turn had waited."))
	err = errors.Join(append(failed[:], err)...)
	i.happened = make(map[consume.EventKind]metric.Int64Counter, len(happenings))
	for kind, h := range happenings {
		counter, refused := meter.Int64Counter(h.name, metric.WithUnit(h.unit), metric.WithDescription(h.description))
		i.happened[kind], err = counter, errors.Join(err, refused)
	}

	return i, err
}

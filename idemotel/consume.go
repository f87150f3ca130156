package idemotel

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/trace"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
)

// Values of idem.outcome. Duplicates have a kind, too.
const (
	processed  = "processed"
	duplicate  = "duplicate"
	deadLetter = "dead_letter"
	replayed   = "replayed"
)

var outcomes = []string{processed, deadLetter, replayed}

// duplicateKinds are the values of idem.duplicate.kind. A collision is an event of its own (idem.collisions).
var duplicateKinds = map[idem.DuplicateKind]string{
	idem.DuplicateUnknown: "unknown", idem.DuplicateRedelivered: "redelivered", idem.DuplicateProducedAgain: "produced_again",
	idem.DuplicateFormerOwner: "former_owner",
}

// pauseKinds are the values of idem.pause.kind.
var pauseKinds = map[consume.PauseKind]string{
	consume.PauseTransient: "transient", consume.PauseKafka: "kafka", consume.PauseProducer: "producer",
	consume.PauseFormerOwner: "former_owner", consume.PauseBreaker: "breaker", consume.PauseOperator: "operator",
}

// ConsumeHooks returns hooks for consume.Config. They call those of inner, which may be empty, within their own: inner
// finds the spans in the context.
func (t *Telemetry) ConsumeHooks(inner consume.Hooks) consume.Hooks {
	hooks := inner
	hooks.Assignment = nest(t, idem.Hook[consume.AssignmentBegin, consume.AssignmentEnd]{Begin: t.acquired, End: t.gaveUp}, inner.Assignment)
	hooks.Fetch = nest(t, idem.Hook[consume.FetchBegin, consume.FetchEnd]{Begin: t.beginFetch, End: t.fetched}, inner.Fetch)
	hooks.Process = nest(t, idem.Hook[consume.ProcessBegin, consume.ProcessEnd]{Begin: t.beginProcess, End: t.endProcess}, inner.Process)
	hooks.OffsetCommit = nest(t, idem.Hook[consume.OffsetCommitBegin, consume.OffsetCommitEnd]{Begin: t.beginOffsetCommit, End: t.endOffsetCommit}, inner.OffsetCommit)
	hooks.Pause = nest(t, idem.Hook[consume.PauseBegin, consume.PauseEnd]{Begin: t.pause, End: t.resume}, inner.Pause)
	hooks.Event = func(ctx context.Context, e consume.Event) {
		t.happened(ctx, e)
		if inner.Event != nil {
			inner.Event(ctx, e)
		}
	}

	return hooks
}

func (t *Telemetry) beginFetch(ctx context.Context, _ consume.FetchBegin) context.Context {
	return t.begin(ctx)
}

// acquired makes the time series of a topic begin at zero: of one that begins at one, nobody sees the increase.
func (t *Telemetry) acquired(ctx context.Context, begin consume.AssignmentBegin) context.Context {
	topic := series{topic: begin.Topic}
	for _, counter := range t.instruments.happened {
		counter.Add(ctx, 0, t.with(topic).add...)
	}
	t.instruments.fenced.Add(ctx, 0, t.with(topic).add...)
	for _, outcome := range outcomes {
		t.instruments.events.Add(ctx, 0, t.with(series{topic: begin.Topic, name: outcomeKey, value: outcome}).add...)
	}
	for _, kind := range duplicateKinds {
		t.instruments.events.Add(ctx, 0, t.with(series{topic: begin.Topic, name: outcomeKey, value: duplicate, duplicate: kind}).add...)
	}
	for _, kind := range pauseKinds {
		t.instruments.paused.Add(ctx, 0, t.with(series{topic: begin.Topic, name: pauseKey, value: kind}).add...)
	}

	return ctx
}

func (t *Telemetry) gaveUp(ctx context.Context, begin consume.AssignmentBegin, end consume.AssignmentEnd) {
	if errors.Is(end.Err, idem.ErrFenced) {
		t.instruments.fenced.Add(ctx, 1, t.with(series{topic: begin.Topic}).add...)
	}
}

// fetched makes a span of what brought records or failed. A broker that has nothing answers all the time.
func (t *Telemetry) fetched(ctx context.Context, begin consume.FetchBegin, end consume.FetchEnd) {
	c := t.callOf(ctx)
	if end.Records == 0 && (end.Err == nil || errors.Is(end.Err, context.Canceled)) {
		return
	}
	set := t.with(series{operation: poll, topic: begin.Topic, failed: errorType(end.Err)})
	t.instruments.operation.Inst().Record(ctx, c.seconds(), set.record...)
	if end.Err == nil {
		t.instruments.consumed.Inst().Add(ctx, int64(end.Records), set.add...)
	}
	_, span := t.startRoot(ctx, poll, begin.Topic, trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(c.began))
	t.describeFetch(span, begin, end)
	endSpan(span, end.Err)
}

func (t *Telemetry) beginProcess(ctx context.Context, begin consume.ProcessBegin) context.Context {
	c := t.begin(ctx)
	c.transaction = true
	c.Context, c.span = t.startProcess(ctx, begin)

	return c
}

func (t *Telemetry) endProcess(ctx context.Context, begin consume.ProcessBegin, end consume.ProcessEnd) {
	c, topic, failed := t.callOf(ctx), begin.Messages.First.Topic, errorType(end.Err)
	if begin.Kind != idem.OpStoreDeadLetter {
		t.instruments.process.Inst().Record(ctx, c.seconds(), t.with(series{operation: process, topic: topic, failed: failed}).record...)
	}
	t.count(ctx, end.Processed, series{topic: topic, name: outcomeKey, value: outcomeOf(begin.Kind)})
	t.countDuplicates(ctx, end.DuplicateKinds, series{topic: topic})
	if c.span.IsRecording() {
		c.span.SetAttributes(processedKey.Int(end.Processed), duplicatesKey.Int(end.Duplicates))
	}
	endSpan(c.span, end.Err)
}

// outcomeOf is what has become of an event that has taken effect.
func outcomeOf(kind idem.OpKind) string {
	switch kind {
	case idem.OpStoreDeadLetter:
		return deadLetter
	case idem.OpReplay:
		return replayed
	default:
		return processed
	}
}

func (t *Telemetry) count(ctx context.Context, n int, s series) {
	if n > 0 {
		t.instruments.events.Add(ctx, int64(n), t.with(s).add...)
	}
}

func (t *Telemetry) countDuplicates(ctx context.Context, kinds idem.DuplicateCounts, s series) {
	s.name, s.value = outcomeKey, duplicate
	for kind, name := range duplicateKinds {
		s.duplicate = name
		t.count(ctx, kinds[kind], s)
	}
}

func (t *Telemetry) beginOffsetCommit(ctx context.Context, begin consume.OffsetCommitBegin) context.Context {
	c := t.begin(ctx)
	c.Context, c.span = t.startRoot(ctx, settle, oneTopic(begin.Places), trace.WithSpanKind(trace.SpanKindClient))

	return c
}

func (t *Telemetry) endOffsetCommit(ctx context.Context, begin consume.OffsetCommitBegin, end consume.OffsetCommitEnd) {
	c := t.callOf(ctx)
	set := t.with(series{operation: settle, topic: oneTopic(begin.Places), failed: errorType(end.Err)})
	t.instruments.operation.Inst().Record(ctx, c.seconds(), set.record...)
	endSpan(c.span, end.Err)
}

// oneTopic returns the topic of all places, or "" if they are of several.
func oneTopic(places []consume.Place) (topic string) {
	for _, place := range places {
		if topic != "" && place.Topic != topic {
			return ""
		}
		topic = place.Topic
	}

	return topic
}

func (t *Telemetry) pause(ctx context.Context, begin consume.PauseBegin) context.Context {
	t.instruments.paused.Add(ctx, 1, t.with(series{topic: begin.Topic, name: pauseKey, value: pauseKinds[begin.Kind]}).add...)

	return ctx
}

func (t *Telemetry) resume(ctx context.Context, begin consume.PauseBegin, _ consume.PauseEnd) {
	t.instruments.paused.Add(ctx, -1, t.with(series{topic: begin.Topic, name: pauseKey, value: pauseKinds[begin.Kind]}).add...)
}

func (t *Telemetry) happened(ctx context.Context, e consume.Event) {
	counter, known := t.instruments.happened[e.Kind]
	if !known {
		return
	}
	s := series{topic: e.Topic}
	if e.Kind == consume.EventRetry {
		s.failed = errorType(e.Err)
	}
	counter.Add(ctx, 1, t.with(s).add...)
}

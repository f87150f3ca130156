package idemotel

import (
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// Names of this library's own attributes.
const (
	consumerKey   = attribute.Key("idem.consumer")
	outcomeKey    = attribute.Key("idem.outcome")
	duplicateKey  = attribute.Key("idem.duplicate.kind")
	operationKey  = attribute.Key("idem.operation")
	pauseKey      = attribute.Key("idem.pause.kind")
	stateKey      = attribute.Key("idem.state")
	eventIDKey    = attribute.Key("idem.event.id")
	attemptKey    = attribute.Key("idem.attempt")
	eventsKey     = attribute.Key("idem.events")
	newKey        = attribute.Key("idem.events.new")
	processedKey  = attribute.Key("idem.events.processed")
	duplicatesKey = attribute.Key("idem.events.duplicate")
	firstKey      = attribute.Key("idem.offset.first")
	unknownKey    = attribute.Key("idem.attempts.unknown")
	storedKey     = attribute.Key("idem.step.stored")
)

// operation is messaging.operation.name. Those of the conventions have a type, too.
type operation string

const (
	poll    operation = "poll"
	process operation = "process"
	settle  operation = "commit"
	send    operation = "send"
	// storeDeadLetter is our own.
	storeDeadLetter operation = "store_dead_letter"
)

var operationTypes = map[operation]attribute.KeyValue{
	poll: semconv.MessagingOperationTypeReceive, process: semconv.MessagingOperationTypeProcess, settle: semconv.MessagingOperationTypeSettle,
	send: semconv.MessagingOperationTypeSend,
}

// attributes are messaging.system and the operation's.
func (o operation) attributes() []attribute.KeyValue {
	all := []attribute.KeyValue{semconv.MessagingSystemKafka, semconv.MessagingOperationName(string(o))}
	if kind, known := operationTypes[o]; known {
		all = append(all, kind)
	}

	return all
}

// series are the attributes of a measurement, or those that a span begins with. Empty ones are left out.
type series struct {
	operation operation
	topic     string
	consumer  string
	name      attribute.Key // and its value
	value     string
	duplicate string // idem.duplicate.kind
	failed    string // error.type
}

// attributeSet is made once for each series, because making it costs more than measuring.
type attributeSet struct {
	add     []metric.AddOption
	record  []metric.RecordOption
	observe []metric.ObserveOption
	span    trace.SpanStartOption
}

// with returns the set of a series.
func (t *Telemetry) with(s series) *attributeSet {
	t.mu.RLock()
	set := t.sets[s]
	t.mu.RUnlock()
	if set != nil {
		return set
	}
	var all []attribute.KeyValue
	if s.operation != "" {
		all = s.operation.attributes()
	}
	if s.topic != "" {
		all = append(all, semconv.MessagingDestinationName(s.topic))
	}
	if t.config.Group != "" {
		all = append(all, semconv.MessagingConsumerGroupName(t.config.Group))
	}
	if s.consumer != "" {
		all = append(all, consumerKey.String(s.consumer))
	}
	if s.name != "" {
		all = append(all, s.name.String(s.value))
	}
	if s.duplicate != "" {
		all = append(all, duplicateKey.String(s.duplicate))
	}
	if s.failed != "" {
		all = append(all, semconv.ErrorTypeKey.String(s.failed))
	}
	option := metric.WithAttributeSet(attribute.NewSet(all...))
	set = &attributeSet{add: []metric.AddOption{option}, record: []metric.RecordOption{option}, observe: []metric.ObserveOption{option}, span: trace.WithAttributes(all...)}
	t.mu.Lock()
	t.sets[s] = set
	t.mu.Unlock()

	return set
}

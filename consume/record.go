package consume

import (
	"slices"
	"time"
)

// Record is a record of a Kafka topic.
type Record struct {
	Topic     string
	Partition int32
	Offset    int64

	// HighWatermark is the end of the partition's log when the record was fetched: the offset after its
	// last replicated record.
	HighWatermark int64

	// Key and Value are nil if the record has none. They share memory with other records: keep a
	// copy, not the slice, except in a Handler, which owns its record.
	Key, Value []byte
	Headers    []RecordHeader

	// Time is when the record was created, or appended to the log, as the topic is configured. Zero if
	// not known.
	Time time.Time
}

// RecordHeader is a header of a Record. A record may have several of one key.
type RecordHeader struct {
	Key   string
	Value []byte // nil if it has none
}

// Lag returns how many records came after this one in the partition when it was fetched.
func (r Record) Lag() int64 { return max(0, r.HighWatermark-r.Offset-1) }

// HeaderCarrier gives access to a record's headers as OpenTelemetry's propagation.TextMapCarrier
// does, so that a propagator can extract traceparent, tracestate and baggage (Hooks.Handler,
// Hooks.Process).
type HeaderCarrier []RecordHeader

// Get returns the value of the last header of that name, or "".
func (c HeaderCarrier) Get(name string) string {
	for _, h := range slices.Backward(c) {
		if h.Key == name {
			return string(h.Value)
		}
	}

	return ""
}

// Set does nothing: a consumed record is not changed.
func (c HeaderCarrier) Set(string, string) {}

// Keys returns the names of the headers.
func (c HeaderCarrier) Keys() []string {
	names := make([]string, len(c))
	for i, h := range c {
		names[i] = h.Key
	}

	return names
}

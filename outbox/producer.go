package outbox

import (
	"context"
	"errors"
)

// ErrRefused is wrapped by the errors of a Producer for records that Kafka will never accept: too
// large, or invalid in their topic.
var ErrRefused = errors.New("outbox: Kafka refuses the record")

// Producer sends records to Kafka. kafkaadapter.NewProducer and franzadapter.NewProducer make one.
type Producer interface {
	// Produce sends the records and returns once each is acknowledged by all in-sync replicas or has failed, and not
	// much later than ctx ends. It returns nil, or an error or nil for each record. Errors that wrap
	// ErrRefused are final; after others the relay sends the records again.
	//
	// Records of one key are sent to one partition, in their order. If one is not acknowledged, none that
	// follows it in its partition is in the log before it: the records of a partition are one batch. The relay gives a call at
	// most Config.MaxBytes, or one larger record, so that they can be.
	//
	// The relay makes one call at a time.
	Produce(ctx context.Context, records []Record) []error
}

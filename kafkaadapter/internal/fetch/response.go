package fetch

import (
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
)

// Response holds the records that a fetch found.
type Response struct {
	// Messages are committed and in the order of their offsets. Keys, values, headers and the
	// messages themselves share memory with those of the same response, which is never used
	// again: a single one that is kept holds on to all of it.
	Messages []consume.Record
	// Next is where the next fetch has to start: behind all that was read, be it records,
	// aborted ones, transaction markers or holes.
	Next int64
	// HighWatermark is the offset behind the last record that is replicated; LastStable that
	// of the first record of the oldest open transaction, up to which records are delivered.
	HighWatermark int64
	LastStable    int64
	// LogStart is the offset of the first record that is left, or -1 from an old broker.
	LogStart int64
	// LeaderEpoch is the partition leader's epoch in which the last batch was written (KIP-320),
	// or -1 if there is none.
	LeaderEpoch int32
	// Throttle is how long the broker wants this client to wait before it asks again, because
	// it is over its quota. Then there may be no records although the log has some.
	Throttle time.Duration

	shared  bool // messages share memory with the response's body
	account *account
}

// Release gives back what the response has taken of Request.Memory. The messages must not be
// used any more. It may be called more than once.
func (r *Response) Release() { r.account.release() }

// Released is closed by Release. It is nil without Request.Memory.
func (r *Response) Released() <-chan struct{} {
	if r.account == nil {
		return nil
	}

	return r.account.done
}

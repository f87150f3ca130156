package outbox

import (
	"context"
	"errors"
	"time"

	"github.com/nova-events/idempotent-consumer/idem"
)

// Hooks watch what a Relay does, for traces and metrics, as idem.Hooks watch a guard. They are called in the
// relay's goroutine, which waits for them. If a hook panics, so does Run.
type Hooks struct {
	// Turn watches a transaction of the relay: it waits for other relays, reads records, has them
	// produced, and deletes those that Kafka has.
	Turn idem.Hook[TurnBegin, TurnEnd]

	// Produce watches one call of the Producer, within a turn.
	Produce idem.Hook[ProduceBegin, ProduceEnd]
}

// TurnBegin is what is known of a turn at its start.
type TurnBegin struct{}

// TurnEnd is what became of a turn. If Err is set, the records will be sent again.
type TurnEnd struct {
	// Delivered records are acknowledged by Kafka and deleted here. Failed ones are refused by Kafka and wait for an operator;
	// Parked ones wait behind one of them. Waiting ones are sent again soon, because Kafka did not take them.
	Delivered, Failed, Parked, Waiting int

	// Oldest is how long the first of the records has been waiting, by the time of its transaction's start. 0
	// without records.
	Oldest time.Duration

	Err error
}

// ProduceBegin is what is produced. The records must not be changed.
type ProduceBegin struct{ Records []Record }

// ProduceEnd is what the Producer returned: nil, or an error or nil for each record.
type ProduceEnd struct{ Errs []error }

// errNoReturn is the error that hooks get for a turn that panics.
var errNoReturn = errors.New("outbox: the turn did not return: it panicked")

func begin[B, E any](ctx context.Context, hook idem.Hook[B, E], b B) context.Context {
	if hook.Begin != nil {
		if begun := hook.Begin(ctx, b); begun != nil {
			return begun
		}
	}

	return ctx
}

func end[B, E any](ctx context.Context, hook idem.Hook[B, E], b B, e E) {
	if hook.End != nil {
		hook.End(ctx, b, e)
	}
}

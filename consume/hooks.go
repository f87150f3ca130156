package consume

import (
	"context"
	"iter"
	"log/slog"
	"slices"
	"time"

	"github.com/nova-events/idempotent-consumer/idem"
)

// Hooks watch what a consumer does, for traces and metrics: pairs of functions that are called when something
// begins and when it ends, and one function for what only happens. They are called in the goroutine that they
// watch, which waits for them, and by several goroutines at the same time. Unset ones allocate nothing.
//
// The guard's hooks (idem.Hooks) lie within these: a Process contains the guard's call, with the claim, the
// guard's handler, in which each Handler lies, and the COMMIT. What a Begin puts into the context, a span for
// instance, is there for all that lies within.
//
// Each Begin has one End, however the handler leaves and whatever becomes of the partition and the consumer,
// unless the process ends. The records that hooks get are those that were fetched, not the handler's copies:
// hooks must neither change them nor keep them after End.
//
// A panic of a hook is logged, and all goes on as if the hook had returned, Begin with nil; with
// Config.LetPanic it ends the process. So does always a panic of one of the guard's hooks. A hook must not end
// its goroutine (runtime.Goexit, testing.T.FailNow): the log says so, and Run ends if it is that of a partition
// (ErrHandlerExited).
type Hooks struct {
	// Assignment watches a partition from when this member has acquired it to when it gives it up. What Begin
	// returns is for End alone, not for what is done meanwhile: no trace is to last for days.
	Assignment idem.Hook[AssignmentBegin, AssignmentEnd]

	// Fetch watches how the next records of a partition are fetched, while those before are processed. The
	// broker answers after a while (MaxWait of the adapter) even if there are none.
	Fetch idem.Hook[FetchBegin, FetchEnd]

	// Process watches one try to process records in a transaction: a record or a replay, each attempt of its
	// own, or a batch, with the parts that it is tried in. It also watches the storing of a dead letter.
	Process idem.Hook[ProcessBegin, ProcessEnd]

	// Handler watches one call of Config.Handle, HandleQueue or HandleBatch, which gets the context that Begin
	// returns: extract there what the records' headers say (HeaderCarrier). What HandleQueue has queued is
	// executed later; idem.Hooks.Handler watches that, too.
	Handler idem.Hook[HandlerBegin, HandlerEnd]

	// OffsetCommit watches one request that commits offsets to Kafka.
	OffsetCommit idem.Hook[OffsetCommitBegin, OffsetCommitEnd]

	// Pause watches a time in which a partition stands still, of which the log has a line at first and once
	// a minute. With Lanes, and where records are fetched while others are processed, there may be several
	// at once. What Begin returns is for End alone.
	Pause idem.Hook[PauseBegin, PauseEnd]

	// Event is called when something happens that has no end. ctx is that in which it happens, which carries
	// no span of this consumer's.
	Event func(ctx context.Context, e Event)
}

// Place is an offset of a partition.
type Place struct {
	Topic     string
	Partition int32
	Offset    int64 // -1 if it is not known
}

// AssignmentBegin says which partition is acquired, and where it goes on.
type AssignmentBegin struct{ Place }

// AssignmentEnd says why a partition is given up: nil if it was revoked or the consumer was told to stop. It
// wraps idem.ErrFenced if another owner has acquired it, of which the group has not told yet.
type AssignmentEnd struct{ Err error }

// FetchBegin says which record is asked for.
type FetchBegin struct{ Place }

// FetchEnd is the answer.
type FetchEnd struct {
	Records  int
	Next     int64         // the offset behind what was read
	Lag      int64         // how many offsets the partition has from Next on
	Throttle time.Duration // the broker's quota has the client wait so long before its next request
	Err      error         // the other fields are zero then
}

// Messages are the records that a hook is told of: at least one, in the order of their offsets, all of one
// partition.
type Messages struct {
	First Message
	Count int
	All   iter.Seq[Message] // Nothing is made of the records that nobody asks for.
}

// MessagesOf returns what hooks get for records, of which there must be one, for tests of hooks.
func MessagesOf(records ...Message) Messages {
	return Messages{First: records[0], Count: len(records), All: slices.Values(records)}
}

// ProcessBegin says what is to be processed.
type ProcessBegin struct {
	// Kind is idem.OpProcess for a record that has a transaction of its own, idem.OpBatch for records that
	// share one, idem.OpReplay for a dead letter, and idem.OpStoreDeadLetter for a record that becomes one.
	Kind idem.OpKind

	Messages Messages
}

// ProcessEnd is how a try ended. Those of the records that are neither processed nor duplicates are still
// to be tried, or to fail: Err says why.
type ProcessEnd struct {
	Processed  int // have taken effect by this try, or are stored if that was to be done
	Duplicates int // were processed before
	Err        error

	// DuplicateKinds are the duplicates by kind, as far as that can be told, and besides them a collision, of
	// which CollisionPolicy decides what becomes. A try meets one at most.
	DuplicateKinds idem.DuplicateCounts
}

// HandlerBegin says what a handler is given: one record, or the new ones of a batch.
type HandlerBegin struct{ Messages Messages }

// HandlerEnd is what a handler returned, a *PanicError if it panicked. It wraps ErrHandlerExited if the
// handler did not return.
type HandlerEnd struct{ Err error }

// OffsetCommitBegin says what is committed: for each partition the offset of the next record, in no order.
type OffsetCommitBegin struct{ Places []Place }

// OffsetCommitEnd is the answer.
type OffsetCommitEnd struct{ Err error }

// PauseBegin says where a partition stands still, and why. Offset is -1 if it is not at a record.
type PauseBegin struct {
	Place

	Kind PauseKind
	Err  error
}

// PauseEnd says how a pause ended: by going on, or because the partition is given up.
type PauseEnd struct{ GoesOn bool }

// PauseKind is why a partition stands still.
type PauseKind uint8

// The kinds.
const (
	PauseTransient   PauseKind = iota + 1 // PostgreSQL fails, or what a handler calls Transient, and is tried again
	PauseKafka                            // a request to Kafka fails, and is tried again
	PauseProducer                         // a producer's open transaction holds the records back (ErrOpenTransaction)
	PauseFormerOwner                      // transactions of the partition's former owner are awaited
	PauseBreaker                          // records fail one after the other (BreakerPolicy)
)

// EventKind says what an Event is about.
type EventKind uint8

// What happens. The comments name the fields that are set besides Topic and Partition.
const (
	EventRetry       EventKind = iota + 1 // the handler failed and runs again: Offset, Duration of the pause before, Err
	EventDeadLetter                       // a record or an unreadable batch is stored as a dead letter, or the replay of one failed: Offset, Err
	EventParked                           // a record is stored behind a dead letter of its key: Offset, Err
	EventSkipped                          // records are skipped, by Config.OnOutOfRange, OnUnreadable or an operator: Offset, where it goes on; Err if a batch is unreadable
	EventRewound                          // the database went back in time: Offset of the checkpoint, Records lost and read again, Err
	EventCollision                        // an event id was processed before with another value (CollisionPolicy); the ProcessEnd of that try counts the record in DuplicateKinds alone: Offset, Err, an *idem.CollisionError
	EventHandlerSlow                      // a handler has not returned for a minute, and each minute more: Offset, Duration so far
	EventPoolWait                         // the guard's pool has had no connection to give for 5 s while this handler ran: Offset, Duration, Err, a *PoolWaitError; no Topic if none ran
)

// Event is something that a metric may want to count. See the kinds for the fields that are set.
type Event struct {
	Place

	Kind     EventKind
	Records  int
	Duration time.Duration
	Err      error
}

// safely returns the hooks with their panics made lines in the log: what is only watched goes on.
func (h Hooks) safely(c Config) Hooks {
	if c.LetPanic {
		return h
	}
	log, event := c.Logger, h.Event
	safe := Hooks{
		Assignment: safely(log, "Assignment", h.Assignment), Fetch: safely(log, "Fetch", h.Fetch), Process: safely(log, "Process", h.Process),
		Handler: safely(log, "Handler", h.Handler), OffsetCommit: safely(log, "OffsetCommit", h.OffsetCommit), Pause: safely(log, "Pause", h.Pause),
	}
	if event != nil {
		safe.Event = func(ctx context.Context, e Event) {
			logged(ctx, log, "Event", func() { event(ctx, e) })
		}
	}

	return safe
}

func safely[B, E any](log *slog.Logger, name string, h idem.Hook[B, E]) (safe idem.Hook[B, E]) {
	if h.Begin != nil {
		safe.Begin = func(ctx context.Context, begin B) (begun context.Context) {
			logged(ctx, log, name+".Begin", func() { begun = h.Begin(ctx, begin) }) //nolint:fatcontext // It is Begin's.

			return begun
		}
	}
	if h.End != nil {
		safe.End = func(ctx context.Context, begin B, end E) {
			logged(ctx, log, name+".End", func() { h.End(ctx, begin, end) })
		}
	}

	return safe
}

// logged calls a hook and says in the log if it does not return.
func logged(ctx context.Context, log *slog.Logger, name string, call func()) {
	returned := false
	defer func() {
		if returned {
			return
		}
		if value := recover(); value != nil {
			log.ErrorContext(ctx, "consume: a hook panicked", "hook", name, "error", value, "stack", string(NewPanicError(value).Stack))
		} else {
			log.ErrorContext(ctx, "consume: a hook ended its goroutine", "hook", name)
		}
	}()
	call()
	returned = true
}

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
// begins and when it ends, and one function for events without a duration. They are called in the goroutine
// that they watch, which waits for them, and by several goroutines at the same time. Only those of an operator's
// pause (PauseOperator) are called by the goroutine that looks for pauses, and no partition waits for them. Hooks
// that are not set allocate nothing.
//
// The guard's hooks (idem.Hooks) are nested in these: a Process contains the guard's call, with the claim,
// the guard's handler, which contains each Handler, and the COMMIT. What a Begin puts into the context, a
// span for instance, reaches all that is nested in it.
//
// Each Begin has one End, however the handler ends and whatever becomes of the partition and the consumer,
// unless the process ends. Hooks get the records that were fetched, not the handler's copies: hooks must
// neither change them nor keep them after End.
//
// A panic of a hook is logged, and the consumer goes on as if the hook had returned (Begin with nil). With
// Config.LetPanic it ends the process. A panic of one of the guard's hooks always does. A hook must not end its
// goroutine (runtime.Goexit, testing.T.FailNow): the log says so, and if the goroutine is that of a partition,
// Run ends (ErrHandlerExited).
type Hooks struct {
	// Assignment watches a partition from when this member has acquired it to when it gives it up. What Begin
	// returns is passed to End only, not to what is done meanwhile: a trace should not last for days.
	Assignment idem.Hook[AssignmentBegin, AssignmentEnd]

	// Fetch watches how the next records of a partition are fetched, while those before are processed. The
	// broker answers after a while (MaxWait of the adapter) even if there are no records.
	Fetch idem.Hook[FetchBegin, FetchEnd]

	// Process watches one try to process records in a transaction: a record or a replay, each attempt of its
	// own, or a batch, with the parts in which it is tried. It also watches the storing of a dead letter.
	Process idem.Hook[ProcessBegin, ProcessEnd]

	// Handler watches one call of Config.Handle, HandleQueue or HandleBatch, which gets the context that Begin
	// returns: Begin can extract a trace from the records' headers (HeaderCarrier). Statements that
	// HandleQueue has queued are executed later; idem.Hooks.Handler includes that.
	Handler idem.Hook[HandlerBegin, HandlerEnd]

	// OffsetCommit watches one request that commits offsets to Kafka.
	OffsetCommit idem.Hook[OffsetCommitBegin, OffsetCommitEnd]

	// Pause watches a time in which a partition stands still, of which the log has a line at first and once
	// a minute; an operator's pause has one line at first and one at the end, for all partitions. With Lanes, and
	// where records are fetched while others are processed, there may be several at once. What Begin returns is for
	// End alone.
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

// AssignmentEnd says why a partition is given up: Err is nil if it was revoked or the consumer was told to
// stop. Err wraps idem.ErrFenced if another owner has acquired the partition before the group has reported
// it.
type AssignmentEnd struct{ Err error }

// FetchBegin says which record is asked for.
type FetchBegin struct{ Place }

// FetchEnd is the answer.
type FetchEnd struct {
	Records  int
	Next     int64         // the offset after the last record that was read
	Lag      int64         // how many offsets the partition has from Next on
	Throttle time.Duration // how long the broker's quota makes the client wait before its next request
	Err      error         // the other fields are zero then
}

// Messages are the records that a hook gets: at least one, in the order of their offsets, all of one
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

// ProcessEnd is how a try ended. Records that are neither processed nor duplicates are still to be tried,
// or have failed: Err says why.
type ProcessEnd struct {
	Processed  int // took effect in this try, or were stored if the try was to store them
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

// PauseEnd says how a pause ended: the partition goes on, or is given up.
type PauseEnd struct{ GoesOn bool }

// PauseKind is why a partition stands still.
type PauseKind uint8

// The kinds.
const (
	PauseTransient   PauseKind = iota + 1 // PostgreSQL fails, or a handler returns Transient, and is tried again
	PauseKafka                            // a request to Kafka fails, and is tried again
	PauseProducer                         // a producer's open transaction holds the records back (ErrOpenTransaction)
	PauseFormerOwner                      // transactions of the partition's former owner are awaited
	PauseBreaker                          // records fail one after the other (BreakerPolicy)
	PauseOperator                         // an operator has paused the consumer; records in progress may still be finished
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
	EventHandlerSlow                      // a handler, or Config.EventID, has not returned for a minute, and each minute more: Offset, Duration so far
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

package idem

import (
	"context"
	"errors"
)

// Hooks watch what a Guard does, for traces and metrics. They are called in the goroutine of the call that
// they watch, by many calls at the same time, and the call waits for them. If a hook panics, so does the call:
// the transaction is rolled back, unless it is committed already. Hooks that are not set cost nothing. Calls
// that are refused before any I/O call no hooks.
type Hooks struct {
	// Process watches one call for one event, with all its attempts: ProcessIfNew, ExecIfNew and
	// MarkProcessed of the Guard, Process, StoreDeadLetter and Replay of an Owner.
	Process Hook[Op, ProcessEnd]

	// Batch watches a ProcessBatch, with all its attempts and parts.
	Batch Hook[Op, BatchEnd]

	// Claim watches BEGIN and the claim of one attempt, which wait for other transactions that claim
	// the same events. ExecIfNew and MarkProcessed do not call it, because they send everything at
	// once.
	Claim Hook[Op, ClaimEnd]

	// Handler watches one run of a Handler or BatchHandler.
	Handler Hook[Op, HandlerEnd]

	// Commit watches the COMMIT after the handler.
	Commit Hook[Op, CommitEnd]

	// Cleanup watches a pass of CleanupOldEvents.
	Cleanup Hook[Op, CleanupEnd]
}

// Hook is called when something begins, with what is known then (B), and when it ends, with the result (E).
// Either function may be nil.
type Hook[B, E any] struct {
	// Begin returns the context with which the call goes on, usually derived from ctx. What it
	// carries, a span for instance, reaches the hooks within, the handler, pgx's tracer and End. nil
	// means ctx itself.
	Begin func(ctx context.Context, begin B) context.Context

	// End is always called, even if a handler has panicked, with the context that Begin has returned
	// and with the argument of Begin. The context may have ended.
	End func(ctx context.Context, begin B, end E)
}

func (h Hook[B, E]) begin(ctx context.Context, begin B) context.Context {
	if h.Begin == nil {
		return ctx
	}
	if begun := h.Begin(ctx, begin); begun != nil {
		return begun
	}

	return ctx
}

func (h Hook[B, E]) end(ctx context.Context, begin B, end E) {
	if h.End != nil {
		h.End(ctx, begin, end)
	}
}

// Op is the call that a hook watches.
type Op struct {
	Kind     OpKind
	Consumer string // empty for a cleanup, which is for all

	// EventID is the event's id, or the record's place if it has no id. Empty for a batch and a
	// cleanup.
	EventID string

	// Partition and Offset are the place of the record, or of the batch's first record, for calls of an
	// Owner. Zero for other calls.
	Partition Partition
	Offset    int64

	// Events is the number of events: of the batch, of the part of it that is claimed together, or
	// of what the handler is given.
	Events int
}

// OpKind is the kind of call that a hook watches.
type OpKind uint8

// The kinds.
const (
	OpProcess         OpKind = iota + 1 // Guard.ProcessIfNew, Owner.Process
	OpBatch                             // Guard.ProcessBatch, Owner.ProcessBatch
	OpExec                              // Guard.ExecIfNew
	OpMark                              // Guard.MarkProcessed
	OpClaim                             // Guard.ClaimTx
	OpStoreDeadLetter                   // Owner.StoreDeadLetter
	OpReplay                            // Owner.Replay
	OpResolve                           // the search for what a COMMIT without an answer did, within a call or by Guard.Resolve
	OpCleanup                           // Guard.CleanupOldEvents, Cleaner.Clean
)

// String returns "process", "batch", "exec", "mark", "claim", "store dead letter", "replay", "resolve",
// "cleanup" or, for the zero value, "none".
func (k OpKind) String() string {
	switch k {
	case OpProcess:
		return "process"
	case OpBatch:
		return "batch"
	case OpExec:
		return "exec"
	case OpMark:
		return "mark"
	case OpClaim:
		return "claim"
	case OpStoreDeadLetter:
		return "store dead letter"
	case OpReplay:
		return "replay"
	case OpResolve:
		return "resolve"
	case OpCleanup:
		return "cleanup"
	default:
		return "none"
	}
}

// ProcessEnd is what a call for one event returns.
type ProcessEnd struct {
	Outcome Outcome
	Err     error

	// Duplicate says what the event is if it is AlreadyProcessed, or Err a *CollisionError.
	Duplicate DuplicateKind
}

// BatchEnd is what a ProcessBatch returns. Results belongs to the caller of ProcessBatch: do not change it.
type BatchEnd struct {
	Results []BatchResult
	Err     error
}

// ClaimEnd is the answer to a claim.
type ClaimEnd struct {
	// New is how many of the events are to be processed. The others are processed already.
	New int
	Err error
}

// HandlerEnd is how a run of a handler ended. Err is nil or a *HandlerError; if the handler has panicked or
// ended its goroutine, it is another error that says so.
type HandlerEnd struct{ Err error }

// CommitEnd is how a COMMIT ended.
type CommitEnd struct{ Err error }

// CleanupEnd is what a pass of cleanup returns.
type CleanupEnd struct {
	Report CleanupReport
	Err    error
}

// errNoReturn is the error that hooks get for a call that does not return.
var errNoReturn = errors.New("idem: the handler did not return: it panicked or ended its goroutine")

// watchProcess calls the hooks around a call for one event.
func (g *Guard) watchProcess(ctx context.Context, c *call, run func(ctx context.Context) (Outcome, error)) (outcome Outcome, err error) {
	op, hook := g.op(*c), g.config.Hooks.Process
	if hook.End != nil && c.duplicate == nil {
		c.duplicate = new(DuplicateKind)
	}
	hooked := hook.begin(ctx, op)
	err = errNoReturn
	defer func() {
		end := ProcessEnd{Outcome: outcome, Err: err}
		if c.duplicate != nil {
			end.Duplicate = *c.duplicate
		}
		hook.end(hooked, op, end)
	}()
	outcome, err = run(hooked)

	return outcome, err
}

// op says what a call is.
func (g *Guard) op(c call) Op {
	op := Op{Kind: c.kind, Consumer: g.config.Consumer, EventID: c.eventID, Partition: c.partition, Offset: c.offset, Events: 1}
	if c.batch != nil {
		op.EventID, op.Events = "", c.events
	}

	return op
}

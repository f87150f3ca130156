package lease

import (
	"context"

	"github.com/nova-events/idempotent-consumer/idem"
)

// Hooks watch attempts and steps, as idem.Hooks watch a Guard. They are called in the goroutine of the call that they
// watch, which waits for them. The completion of an event is a Guard.ProcessIfNew: the guard's hooks watch it.
type Hooks struct {
	// Acquire watches how an event is looked up and its lease acquired.
	Acquire idem.Hook[Op, AcquireEnd]

	// Run watches one run of a function, with what Ask does before. A lease that is lost ends it with a
	// *LostError.
	Run idem.Hook[Op, RunEnd]

	// Step watches one step.
	Step idem.Hook[Op, StepEnd]
}

// Op is what a hook watches.
type Op struct {
	Consumer string
	EventID  string
	Attempt  int    // its number; 0 for Acquire
	Step     string // its name; empty for others
}

// AcquireEnd is what became of the search for an event. Outcome is 0 if the lease was acquired, and after an error, such as an
// *InProgressError.
type AcquireEnd struct {
	Outcome  Outcome
	Attempts int // that have begun
	Unknown  int // of which nobody knows whether they took effect
	Err      error
}

// RunEnd is how a run of a function ended.
type RunEnd struct{ Err error }

// StepEnd is how a step ended. Stored is true if its function did not run, because its result was stored.
type StepEnd struct {
	Stored bool
	Err    error
}

// begin calls a hook's Begin. It returns the context to go on with, and its End.
func begin[E any](ctx context.Context, hook idem.Hook[Op, E], op Op) (context.Context, func(E)) {
	if hook.Begin != nil {
		if begun := hook.Begin(ctx, op); begun != nil {
			ctx = begun
		}
	}

	return ctx, func(end E) {
		if hook.End != nil {
			hook.End(ctx, op, end)
		}
	}
}

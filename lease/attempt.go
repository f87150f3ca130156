package lease

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/tables"
)

const (
	// MaxKeyBytes is how long a key (Attempt.Key) is at most. It is what providers accept.
	MaxKeyBytes = 255

	maxStepBytes = 255
)

// Attempt is one run of a function for an event. Do not use it after the function has returned.
type Attempt struct {
	EventID string

	// Number is that of this attempt, from 1. It is stored before the function runs, so there were never more
	// effects than that.
	Number int

	// Unknown is how many earlier attempts may have taken effect: nobody knows. It can be too high, never too low.
	Unknown int

	leases *Leases
	held   *held

	mu       sync.Mutex
	writes   []idem.Handler
	returned bool
	steps    map[string]stepState
}

// stepState is what an attempt knows of a step.
type stepState uint8

const (
	settled stepState = iota // it did nothing, or is stored
	running
	unsettled // it may have taken effect, and is not stored
)

// Key returns an idempotency key for the other system, which recognizes a repeated request by it. It is the same in
// each attempt, and differs for each consumer, event and step: "consumer/event/step", with each part percent-encoded,
// or 64 hexadecimal digits made of that if it is longer than MaxKeyBytes. So it changes if the consumer is renamed.
func (a *Attempt) Key(step string) string {
	key := url.PathEscape(a.leases.guard.Consumer()) + "/" + url.PathEscape(a.EventID) + "/" + url.PathEscape(step)
	if len(key) <= MaxKeyBytes {
		return key
	}
	hash := sha256.Sum256([]byte(key))

	return hex.EncodeToString(hash[:])
}

// InTx has write run in the transaction that completes the event, if the function returns no error. It may run several
// times, as an idem.Handler, but takes effect once. If it fails, the event is not completed, although the function
// took effect: Config.Unknown decides what follows. Nil is nothing to do.
//
// Call it outside of steps, with what they have returned: a step that is stored does not run again, and a later attempt
// would complete the event without the write. The first time that a step runs meanwhile is logged. What is added when the function
// has returned is not run, but logged.
func (a *Attempt) InTx(write idem.Handler) {
	if write == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.returned {
		a.leases.log.Error("lease: a write of InTx comes behind the end of its function, and is lost", "event_id", a.EventID, "attempt", a.Number)

		return
	}
	for step, state := range a.steps {
		if state == running {
			a.leases.inStep.Do(func() {
				a.leases.log.Warn("lease: a write of InTx is added while a step runs: if the step's function does that, an attempt that comes after a crash completes "+
					"the event without it; call InTx outside of steps", "event_id", a.EventID, "step", step)
			})
		}
	}
	a.writes = append(a.writes, write)
}

// end notes that the function has returned: the writes are complete.
func (a *Attempt) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.returned = true
}

func (a *Attempt) write(ctx context.Context, tx pgx.Tx) error {
	for _, write := range a.writes {
		if err := write(ctx, tx); err != nil {
			return err
		}
	}

	return nil
}

// Step runs fn once for the event: its result is stored, and later attempts get it from there. Give each step of an
// event a name of its own, of 1 to 255 bytes, and pass the function's ctx. Between fn's effect and the storing of its
// result there may be a crash, as everywhere: use Attempt.Key in fn.
//
// An error of fn is returned, and nothing is stored. It says what that of a Func says: that nothing happened, unless
// IsUnknown reports true for it or ctx has ended. If the lease is lost before, fn does not run, and the error is a *LostError. If the result
// cannot be stored, it is a *LostError, or IsUnknown reports true. After a step that may have taken effect and is not
// stored, because fn panicked or is still running for instance, any error of the attempt's function counts as unknown.
// While a step is running, another one of its name is refused with idem.ErrInvalidConfig.
func (a *Attempt) Step(ctx context.Context, name string, fn func(ctx context.Context) (Result, error)) (result Result, err error) {
	switch {
	case fn == nil:
		return Result{}, errNoFunction
	case name == "" || len(name) > maxStepBytes || !tables.IsText(name):
		return Result{}, fmt.Errorf("%w: the step's name %.40q is not 1 to %d bytes of UTF-8 without NUL", idem.ErrInvalidConfig, name, maxStepBytes)
	}
	before := a.enter(name)
	if before == running {
		return Result{}, fmt.Errorf("%w: the step %q is running", idem.ErrInvalidConfig, name)
	}
	after := before
	defer func() { a.leave(name, after) }()
	ctx, end := begin(ctx, a.leases.config.Hooks.Step, Op{Consumer: a.leases.guard.Consumer(), EventID: a.EventID, Attempt: a.Number, Step: name})
	stored := false
	err = errNoReturn
	defer func() { end(StepEnd{Stored: stored, Err: err}) }()
	if result, stored, err = a.stored(ctx, name); err != nil || stored {
		if stored {
			after = settled
		}

		return result, err
	}
	after = unsettled
	if result, err = fn(ctx); err != nil {
		if ctx.Err() != nil {
			err = Unknown(err)
		}
		if !IsUnknown(err) { // It did nothing now, and what it did before is still unknown.
			after = before
		}

		return Result{}, err
	}
	if err = a.store(ctx, name, result); err == nil {
		after = settled
	}

	return result, err
}

// enter notes that a step is running, and returns its state before.
func (a *Attempt) enter(step string) (before stepState) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.steps == nil {
		a.steps = map[string]stepState{}
	}
	before, a.steps[step] = a.steps[step], running

	return before
}

func (a *Attempt) leave(step string, after stepState) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.steps[step] = after
}

// isSettled reports whether nothing is unknown of any step.
func (a *Attempt) isSettled() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, state := range a.steps {
		if state != settled {
			return false
		}
	}

	return true
}

// stored looks for the result of a step, as long as the lease is the caller's. Neither it nor store waits for PostgreSQL for longer than a
// lease outlasts its silence.
func (a *Attempt) stored(ctx context.Context, name string) (result Result, found bool, err error) {
	l := a.leases
	ctx, cancel := context.WithTimeout(ctx, l.config.Duration)
	defer cancel()
	var rows []db.StepGetRow
	err = l.tables.Do(ctx, func(conn *pgxpool.Conn) (err error) {
		rows, err = l.queries.StepGet(ctx, l.tables.On(conn), db.StepGetParams{ConsumerID: l.tables.Consumer, Key: a.held.key, Token: a.held.token, Step: name})

		return err
	})
	switch {
	case err != nil:
		return Result{}, false, Harmless(fmt.Errorf("lease: look for the result of step %q: %w", name, err))
	case len(rows) == 0:
		return Result{}, false, &LostError{EventID: a.EventID, Reason: errTaken}
	default:
		return Result{ContentType: rows[0].ContentType, Body: rows[0].Body}, rows[0].Stored, nil
	}
}

// store stores the result of a step. The end of ctx is no reason to stop at once: the effect has happened.
func (a *Attempt) store(ctx context.Context, name string, result Result) error {
	l := a.leases
	if err := result.check(l.config.MaxResultBytes); err != nil {
		return Unknown(err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.config.Duration)
	defer cancel()
	mine := false
	err := l.tables.Do(ctx, func(conn *pgxpool.Conn) (err error) {
		mine, err = l.queries.StepStore(ctx, l.tables.On(conn), db.StepStoreParams{
			ConsumerID: l.tables.Consumer, Key: a.held.key, Token: a.held.token, Step: name, ContentType: result.ContentType, Body: result.body(),
		})

		return err
	})
	switch {
	case err != nil:
		return Unknown(fmt.Errorf("lease: step %q has taken effect, but its result could not be stored: %w", name, err))
	case !mine:
		return &LostError{EventID: a.EventID, Reason: errTaken}
	default:
		return nil
	}
}

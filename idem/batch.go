package idem

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/db"
)

// BatchResult is what became of one event of a batch. It is zero if the event was not tried.
type BatchResult struct {
	Outcome   Outcome
	Duplicate DuplicateKind // what the event is if it is AlreadyProcessed, or Err a *CollisionError
	Err       error         // why the event alone could not be processed
}

// BatchHandler is the business logic for the events of a batch that are not processed yet, in their
// order. It may run several times, also with parts of the batch; otherwise it follows the rules of
// Handler. To say which event is at fault, return an *EventError.
//
// The handler owns fresh: it may sort, filter, overwrite and keep the slice. What the Metadata and
// Data of the events point to belongs to whoever made the events.
type BatchHandler func(ctx context.Context, tx pgx.Tx, fresh []Event) error

// EventError tells which of its events a BatchHandler failed for, which saves the search.
type EventError struct {
	Index int // in what the handler was given, as it was given
	Err   error
}

func (e *EventError) Error() string { return fmt.Sprintf("event %d of the batch: %v", e.Index, e.Err) }

// Unwrap returns the reason.
func (e *EventError) Unwrap() error { return e.Err }

// ProcessBatch is ProcessIfNew for many events at once: one transaction claims them all, in one
// statement, runs fn for those that are new, and commits. An event that is in the batch twice
// counts once.
//
// If fn fails, the batch is processed in smaller parts, each in a transaction of its own, until the
// event at fault is alone. Its result has the error; the other events take effect. So the events
// take effect as if they were processed one by one. The results have the order of the events. The
// returned error is about the infrastructure or the call; the results then say what is committed.
//
// Owner.ProcessBatch does the same for records of a partition.
func (g *Guard) ProcessBatch(ctx context.Context, events []Event, fn BatchHandler, opts ...BatchOption) ([]BatchResult, error) {
	if err := g.check(); err != nil {
		return nil, err
	}

	return g.processBatch(ctx, nil, events, fn, opts)
}

func (g *Guard) processBatch(ctx context.Context, o *Owner, events []Event, fn BatchHandler, opts []BatchOption) (results []BatchResult, err error) {
	if fn == nil {
		return nil, fmt.Errorf("%w: the handler is nil", ErrInvalidConfig)
	}
	c, err := newOptions(g, OpBatch, opts)
	if err != nil {
		return nil, err
	}
	if err := g.noneWithin(ctx, len(events), func(i int) string { return events[i].ID }); err != nil {
		return nil, err
	}
	c.batch, c.events = &keyed{}, len(events)
	if o != nil && len(events) > 0 {
		c.at(o, events[0].Offset)
	}
	b := batch{guard: g, call: c, fn: fn, ordered: o != nil, results: make([]BatchResult, len(events))}

	op, hook := g.op(c), g.config.Hooks.Batch
	hooked := hook.begin(ctx, op)
	err = errNoReturn
	defer func() { hook.end(hooked, op, BatchEnd{Results: b.results, Err: err}) }()
	err = b.process(hooked, events)

	return b.results, err
}

// batch is a batch on its way through the guard.
type batch struct {
	guard   *Guard
	call    call
	fn      BatchHandler
	ordered bool // stops at the first event that cannot be processed
	results []BatchResult
}

// process works through the events in parts: all that are left, unless one of them is known to
// be at fault; then half of those up to it, or those before it if the handler has named it.
func (b *batch) process(ctx context.Context, events []Event) error {
	bad := 0 // The event at fault, if one is known to be there, is before this.
	for i, size := 0, len(events); i < len(events); {
		end := min(i+size, len(events))
		err := b.attempt(ctx, events[i:end], b.results[i:end])
		var (
			eventErr *EventError
			passed   *passedError
		)
		switch {
		case err == nil:
			if i = end; i >= bad {
				size = len(events)
			} else {
				size = (bad - i + 1) / 2
			}
		case errors.As(err, &passed):
			for ; i < end && events[i].Offset < passed.next; i++ {
				b.results[i] = BatchResult{Outcome: AlreadyProcessed, Duplicate: DuplicateRedelivered}
			}
		case !isEventsFault(err):
			return err
		case end == i+1:
			b.results[i] = BatchResult{Err: err, Duplicate: kindOfError(err)}
			if b.ordered {
				return nil
			}
			i, bad, size = end, 0, len(events)
		case errors.As(err, &eventErr) && eventErr.Index >= 0 && eventErr.Index < end-i:
			size, bad = max(eventErr.Index, 1), i+eventErr.Index+1
		default:
			size, bad = (end-i)/2, end
		}
	}

	return nil
}

// isEventsFault reports whether err comes of the events and not of the infrastructure.
func isEventsFault(err error) bool {
	var handlerErr *HandlerError
	if errors.As(err, &handlerErr) {
		return !handlerErr.transient && !handlerErr.ended
	}

	return errors.Is(err, ErrInvalidEventID) || errors.Is(err, ErrInvalidMetadata) || errors.As(err, new(*CollisionError))
}

// passedError says that the checkpoint is beyond the first events of a part.
type passedError struct{ next int64 }

func (e *passedError) Error() string { return fmt.Sprintf("the checkpoint is at %d", e.next) }

// attempt processes a part in one transaction.
func (b *batch) attempt(ctx context.Context, part []Event, results []BatchResult) error {
	committed := false
	defer func() {
		if !committed { // The handler may have panicked.
			clear(results)
		}
	}()
	p, err := b.prepare(part)
	if err != nil {
		return err
	}
	g := b.guard

	err = p.call.retry.do(ctx, &g.retries, func() error {
		err := p.try(ctx, results)
		if !errors.Is(err, errCommitUnanswered) {
			return err
		}
		outcome, resolveErr := g.resolve(ctx, p.call)
		switch {
		case resolveErr != nil && !errors.Is(resolveErr, ErrNotFound):
			return resolveErr
		case outcome != Processed:
			return notCommitted(p.call, err)
		}

		return nil
	})
	committed = err == nil
	if committed && p.call.advances {
		p.call.owner.passed(p.call.next)
	}

	return err
}

// part is a part of a batch that is processed in one transaction.
type part struct {
	batch  *batch
	call   call
	events []Event
	keys   []uuid.UUID      // zero: no event id; nil: none has one
	again  map[int]struct{} // in events: those whose key another event before them has
}

func (b *batch) prepare(events []Event) (*part, error) {
	p := &part{batch: b, call: b.call, events: events}
	claimID, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("idem: make a claim id: %w", err)
	}
	p.call.claimID, p.call.eventID = claimID, fmt.Sprintf("one of %d", len(events))
	if len(events) == 1 {
		p.call.eventID = events[0].name(b.call.partition)
	}
	if b.ordered {
		p.call.offset, p.call.next = events[0].Offset, events[len(events)-1].Offset+1
	}
	p.call.batch, p.call.events = &keyed{}, len(events)
	var seen map[uuid.UUID]struct{}
	for i := range events {
		e := &events[i]
		metadata, err := e.validate(b.call.advances)
		if err != nil {
			return nil, at(i, err)
		}
		if e.ByCheckpoint {
			p.call.alone++

			continue
		}
		if p.keys == nil {
			p.keys = make([]uuid.UUID, len(events))
		}
		p.keys[i] = Key(e.ID)
		if _, ok := seen[p.keys[i]]; ok {
			if p.again == nil {
				p.again = make(map[int]struct{})
			}
			p.again[i] = struct{}{}

			continue
		}
		if seen == nil {
			seen = make(map[uuid.UUID]struct{}, len(events)-i)
		}
		seen[p.keys[i]] = struct{}{}
		p.call.batch.add(p.keys[i], e.ID, metadata, e.Fingerprint)
	}

	return p, nil
}

// key is that of an event, or zero if it has no event id.
func (p *part) key(i int) uuid.UUID {
	if p.keys == nil {
		return uuid.Nil
	}

	return p.keys[i]
}

// at names the event at fault.
func at(i int, err error) error { return &EventError{Index: i, Err: err} }

// try runs the transaction.
func (p *part) try(ctx context.Context, results []BatchResult) error {
	g := p.batch.guard
	if err := g.register(ctx); err != nil {
		return err
	}

	return g.begin(ctx, p.call, func(tx pgx.Tx, got claimed) error {
		if !got.place {
			return &passedError{got.next}
		}
		fresh := p.sort(got, results)
		if err := p.duplicated(ctx, g.names.on(tx), results); err != nil {
			return err
		}
		if len(fresh) > 0 {
			c := p.call
			c.events = len(fresh)
			if got.part != nil {
				c.batch = &keyed{keys: got.part}
			}
			err := g.handle(ctx, tx, c, func(ctx context.Context, tx pgx.Tx) error { return inPart(p.batch.fn(ctx, tx, fresh), results) })
			if err != nil {
				return err
			}
		} else if !p.call.advances {
			return nil
		}

		return g.commit(ctx, tx, p.call)
	})
}

// sort sets the results and returns the fresh events.
func (p *part) sort(got claimed, results []BatchResult) []Event {
	p.call.key = uuid.Nil
	isOurs := p.claimed(got)
	fresh := make([]Event, 0, len(p.events))
	for i, e := range p.events {
		if key := p.key(i); key != uuid.Nil {
			if _, again := p.again[i]; again || !isOurs(key) {
				results[i] = BatchResult{Outcome: AlreadyProcessed}

				continue
			}
			p.call.key = key // By any of them the outcome of the COMMIT can be found.
		}
		results[i] = BatchResult{Outcome: Processed}
		fresh = append(fresh, e)
	}

	return fresh
}

// duplicated finds out what the duplicates are. It returns an error for the first that was processed with
// another payload.
func (p *part) duplicated(ctx context.Context, conn db.DBTX, results []BatchResult) error {
	var (
		duplicates []duplicate
		at         []int
	)
	for i, e := range p.events {
		if results[i].Outcome == AlreadyProcessed {
			duplicates, at = append(duplicates, duplicate{e.ID, p.key(i), e.Fingerprint, e.Offset}), append(at, i)
		}
	}
	kinds, err := p.batch.guard.kinds(ctx, conn, &p.call, duplicates)
	for i, kind := range kinds {
		if _, again := p.again[at[i]]; again && kind != DuplicateCollision && p.batch.ordered {
			kind = DuplicateProducedAgain
		}
		results[at[i]].Duplicate = kind
	}
	if i := slices.Index(kinds, DuplicateCollision); i >= 0 {
		return &EventError{Index: at[i], Err: err}
	}

	return err
}

// claimed tells which keys are the caller's to process.
func (p *part) claimed(got claimed) func(key uuid.UUID) bool {
	if got.count == len(p.call.batch.keys) {
		return func(uuid.UUID) bool { return true }
	}
	keys := make(map[uuid.UUID]struct{}, got.count)
	for _, text := range got.part {
		if key, err := uuid.Parse(text); err == nil { // PostgreSQL has made it of a UUID.
			keys[key] = struct{}{}
		}
	}

	return func(key uuid.UUID) bool {
		_, ok := keys[key]

		return ok
	}
}

// inPart converts an index into the fresh events to an index into the part. The results say which
// events are fresh.
func inPart(err error, results []BatchResult) error {
	var eventErr *EventError
	if !errors.As(err, &eventErr) || eventErr.Index < 0 {
		return err
	}
	fresh := -1
	for i := range results {
		if results[i].Outcome == Processed {
			fresh++
		}
		if fresh == eventErr.Index {
			return at(i, err)
		}
	}

	return err
}

package idem

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/internal/sqlbridge"
	"github.com/nova-events/idempotent-consumer/internal/tables"
)

// Outcome says what became of an event. The zero value accompanies every error.
type Outcome uint8

const (
	// Processed means that this call processed the event: its transaction is committed.
	Processed Outcome = iota + 1
	// AlreadyProcessed means that a transaction committed before this call processed the event. The
	// handler did not take effect; usually it did not even run.
	AlreadyProcessed
)

// String returns "processed", "already processed" or, for the zero value, "none".
func (o Outcome) String() string {
	switch o {
	case Processed:
		return "processed"
	case AlreadyProcessed:
		return "already processed"
	default:
		return "none"
	}
}

// Claim is the answer to ClaimTx.
type Claim struct {
	EventID string
	// ID tells this claim from those of others in the database (column claim_id).
	ID uuid.UUID
	// New is true if the event is the caller's to process, in the same transaction. It is
	// false if the event has been processed; the caller then has nothing to do.
	New bool
}

// ClaimTx claims an event inside the caller's transaction, before the caller's own writes.
// The claim lasts if and only if that transaction commits; ClaimTx neither commits nor rolls
// it back. tx may be a savepoint (pgx.Tx.Begin): rolling back to it releases the event.
//
// If another transaction in progress holds the event, ClaimTx waits for its end. Under REPEATABLE
// READ and SERIALIZABLE it then fails with a serialization failure (IsTransient reports true): roll
// back and begin again. If you claim several events in one transaction, always claim them in the
// same order; otherwise transactions can deadlock, and PostgreSQL fails one of them.
//
// In the context of a handler that is called for the same event the error is ErrInvalidConfig, here and in all calls that would claim
// it: it is claimed already, so ask for nothing but its writes.
//
// If the caller's COMMIT loses its connection, call Resolve to find out what became of it. A consumer
// that is not registered yet is registered in the caller's transaction. Call Register at start-up to
// avoid that.
func (g *Guard) ClaimTx(ctx context.Context, tx pgx.Tx, eventID string, opts ...ClaimOption) (Claim, error) {
	if tx == nil {
		return Claim{}, fmt.Errorf("%w: the transaction is nil", ErrInvalidConfig)
	}

	return g.claimIn(ctx, tx, eventID, opts)
}

// claimIn claims an event in a transaction of the caller's.
func (g *Guard) claimIn(ctx context.Context, tx db.DBTX, eventID string, opts []ClaimOption) (Claim, error) {
	c, err := newCall(ctx, g, OpClaim, eventID, opts)
	if err != nil {
		return Claim{}, err
	}
	conn := g.names.on(tx)
	if err := g.registerIn(ctx, conn); err != nil {
		return Claim{}, err
	}
	got, err := g.watchClaim(ctx, c, func(ctx context.Context) (claimed, error) { return g.claim(ctx, conn, c) })
	if err != nil {
		return Claim{}, err
	}

	if !got.isNew(c) {
		if err := g.duplicated(ctx, conn, &c); err != nil {
			return Claim{}, err
		}
	}

	return Claim{EventID: eventID, ID: c.claimID, New: got.isNew(c)}, nil
}

// Resolve tells what became of a claim whose transaction's COMMIT got no answer: Processed if
// it took effect, AlreadyProcessed if another claim of the event did, and ErrNotFound if
// neither did, so that the event may be claimed again. It waits for a transaction that still
// holds the event, at most RetryPolicy.ResolveTimeout; then, or if the database cannot be
// reached, the error wraps ErrOutcomeUnknown.
//
// A COMMIT got no answer if its error wraps no *pgconn.PgError, or one whose severity is not ERROR.
// (pgconn.SafeToRetry does not tell.) Call Resolve after the claiming transaction's connection has
// been released to its pool.
func (g *Guard) Resolve(ctx context.Context, claim Claim) (Outcome, error) {
	c, err := newCall[ClaimOption](ctx, g, OpResolve, claim.EventID, nil)
	if err != nil {
		return 0, err
	}
	c.claimID = claim.ID

	return g.resolve(ctx, c)
}

// call is one event, or a batch, on its way through the guard.
type call struct {
	options

	kind    OpKind
	eventID string
	key     uuid.UUID // zero for a record that its checkpoint alone claims
	claimID uuid.UUID
	batch   *keyed // nil: the event alone
	events  int    // of the batch
	alone   int    // events that the checkpoint alone claims

	partition Partition     // of an owner
	acquired  *atomic.Int64 // of the owner, also of an unfenced one; nil for a replay, and without an owner
	owner     *Owner        // nil: the partition is not held
	advances  bool          // the owner's checkpoint, from offset to next

	offset, next int64

	replaces *mark // nil: none
}

// mark is the claim of a dead letter, which its replay replaces by one of its own. claimID is zero if
// that may be any.
type mark struct {
	key, claimID uuid.UUID
}

// is reports whether a claim is the one that is to be replaced.
func (m *mark) is(claimID uuid.UUID) bool {
	return m != nil && (m.claimID == uuid.Nil || m.claimID == claimID)
}

// queueReclaim puts the statement that makes way for a call's claim in front of it. It cannot fail: a
// queuer sends nothing.
func (g *Guard) queueReclaim(ctx context.Context, b *beginner, c call) {
	if c.replaces == nil {
		return
	}
	params := db.EventReclaimParams{ConsumerID: g.consumer, Key: c.replaces.key.String()}
	if c.replaces.claimID != uuid.Nil {
		params.ClaimID = c.replaces.claimID.String()
	}
	_ = g.queries.EventReclaim(ctx, g.names.on(tables.Queuer{Batch: &b.first}), params)
}

// claimParams are those of the statements that claim one event.
func (c *call) claimParams(consumer int64) db.EventClaimOneParams {
	return db.EventClaimOneParams{
		ConsumerID: consumer, Key: c.key.String(), ClaimID: c.claimID.String(),
		EventID: orNull(storedEventID(c.eventID)), Metadata: orNull(c.metadata), Fingerprint: orNull(int64(c.fingerprint)),
	}
}

// orNull returns nil for the zero value.
func orNull[T comparable](value T) *T {
	var zero T
	if value == zero {
		return nil
	}
	copied := value // Else each value would be allocated.

	return &copied
}

// keyed returns the call's events as the statements that claim many want them.
func (c *call) keyed() keyed {
	switch {
	case c.batch != nil:
		return *c.batch
	case c.key == uuid.Nil:
		return keyed{}
	default:
		return keyed{
			keys: []string{c.key.String()}, eventIDs: []string{storedEventID(c.eventID)}, metadata: []string{c.metadata},
			fingerprints: []int64{int64(c.fingerprint)},
		}
	}
}

// claimed is the answer to a claim.
type claimed struct {
	place bool     // the checkpoint was advanced, or there is none
	count int      // of the keys that are the caller's to process
	part  []string // those, unless they are all
	next  int64    // where the checkpoint is, if it was not advanced
}

// isNew reports whether the event of a call that is no batch is the caller's to process.
func (got claimed) isNew(c call) bool { return got.place && (c.key == uuid.Nil || got.count == 1) }

func newCall[O ProcessOption](ctx context.Context, g *Guard, kind OpKind, eventID string, opts []O) (call, error) {
	if err := g.check(); err != nil {
		return call{}, err
	}
	if err := CheckEventID(eventID); err != nil {
		return call{}, err
	}
	if err := g.notWithin(ctx, eventID); err != nil {
		return call{}, err
	}
	c, err := newOptions(g, kind, opts)
	c.eventID, c.key = eventID, Key(eventID)

	return c, err
}

// newOptions returns a call without an event.
func newOptions[O ProcessOption](g *Guard, kind OpKind, opts []O) (call, error) {
	o, err := applied(g, opts)
	if err != nil {
		return call{}, err
	}
	claimID, err := uuid.NewV7()
	if err != nil {
		return call{}, fmt.Errorf("idem: make a claim id: %w", err)
	}

	return call{kind: kind, claimID: claimID, options: o}, nil
}

// claim inserts the claims of a call's events.
func (g *Guard) claim(ctx context.Context, conn db.DBTX, c call) (claimed, error) {
	got := claimed{place: true}
	var err error
	if c.batch == nil {
		var n int64
		n, err = g.queries.EventClaimOne(ctx, conn, c.claimParams(g.consumer))
		got.count = int(n)
	} else {
		var rows []db.EventClaimRow
		rows, err = g.queries.EventClaim(ctx, conn, db.EventClaimParams{
			ConsumerID: g.consumer, ClaimID: c.claimID.String(), Keys: c.batch.keys, EventIds: c.batch.eventIDs, Metadata: c.batch.metadata,
			Fingerprints: c.batch.fingerprints,
		})
		if err == nil {
			got.count, got.part = int(rows[0].Claimed), rows[0].Part
		}
	}
	if err != nil {
		return claimed{}, fmt.Errorf("idem: claim: %w", explain(err))
	}

	return got, nil
}

// resolve finds out what a COMMIT without an answer did. Reading the row is not enough: where
// there is none, the lost transaction may still be about to commit. So it claims the event
// itself, which waits for the end of that transaction, and takes the claim back.
func (g *Guard) resolve(ctx context.Context, c call) (Outcome, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.retry.ResolveTimeout)
	defer cancel()
	c.retry.MaxAttempts = Unlimited
	var outcome Outcome
	err := c.retry.do(ctx, &g.retries, func() error {
		var err error
		if c.key == uuid.Nil {
			outcome, err = g.probeCheckpoint(ctx, c)
		} else {
			outcome, err = g.probe(ctx, c)
		}

		return err
	})
	if err != nil && !errors.Is(err, ErrNotFound) {
		g.log.ErrorContext(ctx, "idem: outcome of a commit unknown", "event_id", c.eventID, "claim_id", c.claimID, "error", err)

		return 0, fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
	}

	return outcome, err
}

func (g *Guard) probe(ctx context.Context, c call) (Outcome, error) {
	if err := g.register(ctx); err != nil {
		return 0, err
	}
	probeID, err := uuid.NewV7()
	if err != nil {
		return 0, fmt.Errorf("idem: make a claim id: %w", err)
	}
	lost, replaced := c.claimID, c.replaces
	c.kind, c.claimID, c.isolation, c.owner, c.advances, c.batch, c.replaces = OpResolve, probeID, pgx.ReadCommitted, nil, false, nil, nil

	var outcome Outcome
	look := func(tx db.DBTX, got claimed) error {
		if got.isNew(c) {
			return ErrNotFound
		}
		event, err := g.queries.EventGet(ctx, g.names.on(tx), db.EventGetParams{ConsumerID: g.consumer, Key: c.key})
		switch {
		case errors.Is(err, pgx.ErrNoRows): // Forgotten in between.
			return ErrNotFound
		case err != nil:
			return fmt.Errorf("idem: look up claim: %w", err)
		case event.ClaimID == lost:
			outcome = Processed
		case replaced.is(event.ClaimID): // It is as it was.
			return ErrNotFound
		default:
			outcome = AlreadyProcessed
		}

		return nil
	}
	if g.store != nil {
		err = g.beginInSession(ctx, c, func(_ context.Context, tx sqlbridge.Session, got claimed) error { return look(tx, got) })
	} else {
		err = g.begin(ctx, c, func(tx pgx.Tx, got claimed) error { return look(tx, got) })
	}

	return outcome, err
}

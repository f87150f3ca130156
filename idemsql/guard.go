package idemsql

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/sqlbridge"
)

// bridge makes the calls to package idem that are not part of its API.
var bridge = sqlbridge.Idem.(interface { //nolint:forcetypeassert // Else nothing here works.
	New(store sqlbridge.Store, config idem.Config) (*idem.Guard, error)
	ClaimTx(ctx context.Context, g *idem.Guard, tx sqlbridge.Conn, eventID string, opts []idem.ClaimOption) (idem.Claim, error)
	Process(ctx context.Context, g *idem.Guard, eventID string, fn func(context.Context, sqlbridge.Session) error, opts []idem.ProcessOption) (idem.Outcome, error)
	Mark(ctx context.Context, g *idem.Guard, eventID string, opts []idem.ClaimOption) (idem.Outcome, error)
})

// Guard processes each event of one consumer once. It is safe for concurrent use; make one for each consumer name
// and database and keep it. It shares its claims with an idem.Guard of the same consumer name.
type Guard struct{ guard *idem.Guard }

// New returns a Guard. It does no I/O: the consumer is registered by Register or by the first call that needs it.
// Errors wrap idem.ErrInvalidConfig.
func New(db *sql.DB, config idem.Config) (*Guard, error) {
	if db == nil {
		return nil, fmt.Errorf("%w: the database is nil; make one with sql.Open", idem.ErrInvalidConfig)
	}
	guard, err := bridge.New(store{db}, config)
	if err != nil {
		return nil, err
	}

	return &Guard{guard}, nil
}

// Register writes the consumer's name and retention to the database, or checks them, as idem.Guard.Register does. Call
// it at start-up to find mistakes early.
func (g *Guard) Register(ctx context.Context) error {
	return g.guard.Register(ctx)
}

// ClaimTx claims an event inside the caller's transaction, before the caller's own writes, as idem.Guard.ClaimTx does:
// the claim lasts if and only if that transaction commits. If Claim.New is false, the event has been processed and the
// caller has nothing to do.
//
// Begin the transaction with context.WithoutCancel: database/sql rolls it back when its context ends, and Commit then
// says "context canceled" whatever became of the COMMIT. If Commit fails with anything but the server's own error, call
// Resolve. With a driver that calls the COMMIT of an aborted transaction a success, as pgdriver does, the caller has to
// return the error of every statement that fails, or use ProcessIfNew.
func (g *Guard) ClaimTx(ctx context.Context, tx *sql.Tx, eventID string, opts ...idem.ClaimOption) (idem.Claim, error) {
	if tx == nil {
		return idem.Claim{}, fmt.Errorf("%w: the transaction is nil", idem.ErrInvalidConfig)
	}

	return bridge.ClaimTx(ctx, g.guard, querier{tx}, eventID, opts)
}

// Resolve tells what became of a claim whose transaction's COMMIT got no answer, as idem.Guard.Resolve does:
// Processed if it took effect, AlreadyProcessed if another claim of the event did, and idem.ErrNotFound if neither did.
// It waits for a transaction that still holds the event, at most RetryPolicy.ResolveTimeout; then the error wraps
// idem.ErrOutcomeUnknown.
func (g *Guard) Resolve(ctx context.Context, claim idem.Claim) (idem.Outcome, error) {
	return g.guard.Resolve(ctx, claim)
}

// ProcessIfNew runs fn for an event unless the event was processed before, as idem.Guard.ProcessIfNew does: it begins a
// transaction, claims the event, runs fn and commits. So fn takes effect exactly once for each event id of a consumer
// within the retention. Errors, panics, retries and a COMMIT without an answer are handled as there.
//
// fn must neither commit nor roll back tx, nor defer a Rollback: database/sql has no way to refuse that. The error is
// then a HandlerError with idem.ErrHandlerTx; what was committed stays. A query that fn leaves open is an error, too.
// The guard asks the server before the COMMIT whether the transaction is still open and without a failed statement,
// which takes a round trip. It does not notice a transaction that fn ends and begins again by statements, if fn writes
// in the second one. Do not use tx after fn has returned.
func (g *Guard) ProcessIfNew(ctx context.Context, eventID string, fn func(ctx context.Context, tx *sql.Tx) error, opts ...idem.ProcessOption) (idem.Outcome, error) {
	if fn == nil {
		return 0, fmt.Errorf("%w: the handler is nil", idem.ErrInvalidConfig)
	}

	return bridge.Process(ctx, g.guard, eventID, func(ctx context.Context, s sqlbridge.Session) error {
		return explain(fn(ctx, s.(*session).tx)) //nolint:forcetypeassert // It is one of store's.
	}, opts)
}

// MarkProcessed claims an event without processing it, so that it counts as processed from then on. It returns
// Processed, or AlreadyProcessed if the event was processed before.
func (g *Guard) MarkProcessed(ctx context.Context, eventID string, opts ...idem.ClaimOption) (idem.Outcome, error) {
	return bridge.Mark(ctx, g.guard, eventID, opts)
}

// IsProcessed reports whether a committed transaction processed the event. Use it for people and reports only: after
// this answer, another process may process the event before you do.
func (g *Guard) IsProcessed(ctx context.Context, eventID string) (bool, error) {
	return g.guard.IsProcessed(ctx, eventID)
}

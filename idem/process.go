package idem

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
	"github.com/nova-events/idempotent-consumer/internal/tables"
)

// Handler is the business logic for one event. What it does through tx takes effect together with
// the claim of the event or not at all. It may run several times for one event, but only one run
// ever commits; what it does outside tx may be repeated. It must neither commit nor roll back tx
// (ErrHandlerTx); use tx.Begin for savepoints. Do not use tx after the handler has returned.
//
// Statements that would end the transaction are not sent. A handler can work around that with tx.Conn,
// or with a pgx.QueryRewriter.
// The guard notices a transaction that was ended in this way, but not one that was ended and begun
// again: what follows is then committed without the claim.
type Handler func(ctx context.Context, tx pgx.Tx) error

// ProcessIfNew runs fn for an event unless the event was processed before. It begins a transaction,
// claims the event, runs fn and commits. So fn takes effect exactly once for each event id of a
// consumer within the retention, whatever crashes and whoever else tries at the same time. A
// concurrent duplicate waits for the first call to end. It then returns AlreadyProcessed, or
// processes the event itself if the first call rolled back.
//
// If fn returns an error, everything is rolled back, the event stays claimable and the error is
// returned in a *HandlerError. If fn panics, everything is rolled back and the panic goes on.
// Transient errors, including those that fn gets from tx, are retried by the RetryPolicy; fn then
// runs again in a new transaction. If the connection is lost during COMMIT, ProcessIfNew finds out
// on another connection what became of the transaction, or returns an error that wraps
// ErrOutcomeUnknown.
//
// If ctx has ended when fn returns, nothing is committed. The end of ctx does not stop a COMMIT
// that is under way: the COMMIT and the search for its outcome may take RetryPolicy.ResolveTimeout.
func (g *Guard) ProcessIfNew(ctx context.Context, eventID string, fn Handler, opts ...ProcessOption) (Outcome, error) {
	c, err := newCall(ctx, g, OpProcess, eventID, opts)
	if err != nil {
		return 0, err
	}

	return g.process(ctx, c, fn)
}

func (g *Guard) process(ctx context.Context, c call, fn Handler) (Outcome, error) {
	if fn == nil {
		return 0, fmt.Errorf("%w: the handler is nil", ErrInvalidConfig)
	}

	return g.watchProcess(ctx, &c, func(ctx context.Context) (Outcome, error) {
		return g.settle(ctx, c, func() (Outcome, error) { return g.attempt(ctx, c, fn) })
	})
}

// settle repeats attempts by the retry policy and finds out what became of a COMMIT without an
// answer.
func (g *Guard) settle(ctx context.Context, c call, attempt func() (Outcome, error)) (Outcome, error) {
	var outcome Outcome
	err := c.retry.do(ctx, &g.retries, func() error {
		var err error
		outcome, err = attempt()
		if !errors.Is(err, errCommitUnanswered) {
			return err
		}
		resolved, resolveErr := g.resolve(ctx, c)
		if errors.Is(resolveErr, ErrNotFound) {
			return notCommitted(c, err)
		}
		outcome = resolved

		return resolveErr
	})
	if err == nil && outcome == Processed && c.advances {
		c.owner.passed(c.next)
	}

	return outcome, err
}

// notCommitted is the error of a COMMIT without an answer that turned out to have no effect. It
// is worth another try, unless the server says that the handler took too long.
func notCommitted(c call, err error) error {
	if tookTooLong(err) {
		return &HandlerError{EventID: c.eventID, Err: fmt.Errorf("it took longer than the server allows a transaction: %w", err)}
	}

	return fmt.Errorf("idem: nothing was committed: %w", err)
}

// attempt is one transaction: claim, handler, COMMIT.
func (g *Guard) attempt(ctx context.Context, c call, fn Handler) (outcome Outcome, err error) {
	if err := g.register(ctx); err != nil {
		return 0, err
	}
	err = g.begin(ctx, c, func(tx pgx.Tx, got claimed) error {
		if !got.isNew(c) {
			outcome = AlreadyProcessed
			if !got.place {
				c.tell(DuplicateRedelivered)

				return nil
			}

			return g.duplicated(ctx, g.names.on(tx), &c)
		}
		if err := g.handle(ctx, tx, c, fn); err != nil {
			return err
		}
		if err := g.commit(ctx, tx, c); err != nil {
			return err
		}
		outcome = Processed

		return nil
	})
	if err != nil {
		outcome = 0
	}

	return outcome, err
}

// begin runs fn in a new transaction in which c has been claimed, and rolls the transaction
// back, if fn has not committed it, whichever way fn ends: by an error, a panic or
// runtime.Goexit. The connection is back in the pool when begin returns.
func (g *Guard) begin(ctx context.Context, c call, fn func(tx pgx.Tx, got claimed) error) error {
	conn, err := g.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("idem: acquire a connection: %w", err)
	}
	defer conn.Release() // Destroys a connection that is not idle.

	b := &beginner{Conn: conn.Conn(), options: pgx.TxOptions{IsoLevel: c.isolation}}
	defer func() {
		if b.tx != nil {
			rollBack(ctx, b.tx, c)
		}
	}()
	if c.recordDuration {
		// It cannot fail: a queuer sends nothing.
		_ = g.queries.RoleNote(ctx, g.names.on(tables.Queuer{Batch: &b.first}))
	}
	got, err := g.watchClaim(ctx, c, func(ctx context.Context) (claimed, error) {
		if c.owner != nil {
			return g.claimOwned(ctx, b, c)
		}
		g.queueReclaim(ctx, b, c)

		return g.claim(ctx, g.names.on(b), c)
	})
	if err == nil {
		err = fn(b.tx, got)
	}
	closeUseless(ctx, conn, err)

	return err
}

func rollBack(ctx context.Context, tx pgx.Tx, c call) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.retry.ResolveTimeout)
	defer cancel()
	_ = tx.Rollback(ctx) // A failure closes the connection, which rolls back too.
}

// watchClaim calls the hooks around a claim.
func (g *Guard) watchClaim(ctx context.Context, c call, claim func(ctx context.Context) (claimed, error)) (claimed, error) {
	op, hook := g.op(c), g.config.Hooks.Claim
	ctx = hook.begin(ctx, op)
	got, err := claim(ctx)
	end := ClaimEnd{Err: err}
	if got.place {
		end.New = got.count + c.alone
	}
	hook.end(ctx, op, end)

	return got, err
}

// handle runs the handler, judges how it left the transaction, and notes how long it took if that is asked
// for.
func (g *Guard) handle(ctx context.Context, tx pgx.Tx, c call, fn Handler) error {
	return g.watchHandler(ctx, g.names.on(tx), c, func(ctx context.Context) error {
		err := fn(ctx, handlerTx{handlerSavepoint{tx}})

		return judge(err, stateOf(tx.Conn()), c)
	})
}

// watchHandler runs the handler between its hooks, and notes how long it took if that is asked for.
func (g *Guard) watchHandler(ctx context.Context, conn db.DBTX, c call, run func(ctx context.Context) error) error {
	started := time.Now()
	err := g.hookHandler(ctx, c, run)
	if err == nil && c.recordDuration && c.key != uuid.Nil {
		err = g.recordDuration(ctx, conn, c, time.Since(started))
	}

	return err
}

// hookHandler calls the hooks around the handler.
func (g *Guard) hookHandler(ctx context.Context, c call, run func(ctx context.Context) error) (err error) {
	op, hook := g.op(c), g.config.Hooks.Handler
	if c.kind == OpStoreDeadLetter {
		hook = Hook[Op, HandlerEnd]{} // It is no handler's business.
	}
	hooked := hook.begin(ctx, op)
	within, end := g.running(hooked, c)
	defer end()
	err = errNoReturn
	defer func() { hook.end(hooked, op, HandlerEnd{err}) }()
	err = run(within)

	return err
}

// txState is how a handler has left its transaction.
type txState uint8

const (
	txOpen    txState = iota
	txAborted         // a statement failed
	txBusy            // a query is open
	txEnded           // by a statement
	txLost            // with its connection
)

func stateOf(conn *pgx.Conn) txState {
	switch {
	case conn.IsClosed():
		return txLost
	case conn.PgConn().IsBusy():
		return txBusy
	case conn.PgConn().TxStatus() == 'I':
		return txEnded
	case conn.PgConn().TxStatus() == 'E':
		return txAborted
	default:
		return txOpen
	}
}

// judge decides what an error of the handler means, together with the state of the transaction.
func judge(err error, state txState, c call) error {
	transient, ended := false, false
	switch {
	case state == txLost:
		var known bool
		if transient, known = verdict(err); !known {
			transient = connectionLost(err)
		}
	case state == txEnded:
		// Another try might find the claim committed and take the event for done.
		ended = true
		if err != nil {
			err = fmt.Errorf("%w: %w", ErrHandlerTx, err)
		} else {
			err = ErrHandlerTx
		}
	case err != nil:
		transient, _ = verdict(err)
	case state == txBusy:
		err = errors.New("it left a query open: close its rows")
	case state == txAborted:
		err = fmt.Errorf("a statement failed and the handler did not return its error: %w", pgx.ErrTxCommitRollback)
	}
	if err == nil {
		return nil
	}

	return &HandlerError{EventID: c.eventID, Err: err, transient: transient, ended: ended}
}

// recordDuration adds the handler's duration to the claim, in the role that made the claim: the handler
// may have changed it.
func (g *Guard) recordDuration(ctx context.Context, conn db.DBTX, c call, d time.Duration) error {
	err := g.queries.RoleOfGuard(ctx, conn)
	if err == nil {
		err = g.queries.EventSetHandlerDuration(ctx, conn, db.EventSetHandlerDurationParams{
			HandlerMs: float64(d) / float64(time.Millisecond), ConsumerID: g.consumer, Key: c.key,
		})
	}
	if err == nil {
		err = g.queries.RoleOfHandler(ctx, conn)
	}
	if err != nil {
		return fmt.Errorf("idem: record the handler's duration: %w", err)
	}

	return nil
}

// commit ends the transaction, between its hooks.
func (g *Guard) commit(ctx context.Context, tx pgx.Tx, c call) error {
	return g.watchCommit(ctx, c, func(ctx context.Context) error { return commit(ctx, tx, c) })
}

// watchCommit calls the hooks around a COMMIT.
func (g *Guard) watchCommit(ctx context.Context, c call, commit func(ctx context.Context) error) error {
	op, hook := g.op(c), g.config.Hooks.Commit
	ctx = hook.begin(ctx, op)
	err := commit(ctx)
	hook.end(ctx, op, CommitEnd{err})

	return err
}

// commit ends the transaction. From its start on the context's end is no longer a reason to
// stop: half-way the outcome would be unknown for nothing.
func commit(ctx context.Context, tx pgx.Tx, c call) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("idem: not committed: %w", err)
	}
	if tx.Conn().IsClosed() { // The handler overlooked it.
		return fmt.Errorf("idem: not committed: %w", errConnectionLost)
	}
	commitCtx, cancel := backoff.Outlive(ctx, c.retry.ResolveTimeout)
	defer cancel()

	err := judgeCommit(tx.Commit(commitCtx), c)
	if errors.Is(err, errCommitUnanswered) {
		_ = tx.Conn().Close(commitCtx) // Else a COMMIT still under way might outlive the search for its outcome.
	}

	return err
}

// judgeCommit decides what an error of the COMMIT means.
func judgeCommit(err error, c call) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, pgx.ErrTxCommitRollback):
		return &HandlerError{EventID: c.eventID, Err: err}
	case !commitRefused(err):
		return fmt.Errorf("idem: %w: %w", errCommitUnanswered, err)
	case IsTransient(err):
		return fmt.Errorf("idem: commit: %w", err)
	default: // A deferred constraint, for instance.
		return &HandlerError{EventID: c.eventID, Err: fmt.Errorf("commit: %w", err)}
	}
}

package idem

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
	"github.com/nova-events/idempotent-consumer/internal/tables"
)

// ExecIfNew is ProcessIfNew for business logic that consists of statements only: those that queue
// puts into b. BEGIN, the claim, the statements and COMMIT take one round trip (two if pgx first
// has to prepare a statement). The statements run in their order and take effect together with the
// claim or not at all. If queue puts nothing into b, the call is MarkProcessed.
//
// queue is called once for each attempt, before a connection is taken. Its error, or the error of a
// statement, is returned in a *HandlerError, and the event stays claimable. Nothing is sent if a
// statement would end the transaction (ErrHandlerTx). A pgx.QueryRewriter can work around that, as
// Handler says of tx.Conn. The end of ctx stops the statements. The guard then finds out whether the
// COMMIT was faster, which may take RetryPolicy.ResolveTimeout.
//
// Transient errors and lost connections are handled as in ProcessIfNew, with one difference. Because
// everything is sent at once, a server whose connection was lost may still have to read it when the
// search for the outcome finds no claim. Another attempt finds out. If no attempt is left, or the
// other attempt fails, the error wraps ErrOutcomeUnknown.
//
// The results of the statements are not returned, and a statement with a callback (the methods of
// pgx.QueuedQuery) is refused with ErrInvalidConfig. The COMMIT is under way before a callback
// would run, so the callback's error could undo nothing; and if the answer is lost, no callback
// would run for what is committed. Logic that depends on a result must fail in the database, by a
// constraint for instance, or needs ProcessIfNew.
//
// A duplicate costs more than with ProcessIfNew, because it is an error of the server: the server
// logs it and keeps a dead row until the next vacuum, and pgx prepares the statements again. So use
// ExecIfNew for events that usually come once.
//
// ExecIfNew advances no checkpoint; Owner.Process does.
func (g *Guard) ExecIfNew(ctx context.Context, eventID string, queue func(b *pgx.Batch) error, opts ...ExecOption) (Outcome, error) {
	c, err := newCall(ctx, g, OpExec, eventID, opts)
	if err != nil {
		return 0, err
	}
	if queue == nil {
		return 0, fmt.Errorf("%w: the function that queues the statements is nil", ErrInvalidConfig)
	}

	return g.watchProcess(ctx, &c, func(ctx context.Context) (Outcome, error) {
		return g.settleAtOnce(ctx, c, func() (Outcome, error) { return g.attemptExec(ctx, c, queue) })
	})
}

// settleAtOnce is settle for attempts that send all at once, COMMIT included. Where the answer was lost,
// the server may still have it to read when the search for the outcome finds no claim.
func (g *Guard) settleAtOnce(ctx context.Context, c call, attempt func() (Outcome, error)) (Outcome, error) {
	unanswered := false
	outcome, err := g.settle(ctx, c, func() (Outcome, error) {
		outcome, err := attempt()
		if outcome == AlreadyProcessed && unanswered {
			outcome, err = 0, errCommitUnanswered // An earlier attempt may have done it after all: search again.
		}
		unanswered = unanswered || errors.Is(err, errCommitUnanswered)

		return outcome, err
	})
	if err == nil && outcome == AlreadyProcessed {
		err = g.onPool(ctx, func(conn db.DBTX) error { return g.duplicated(ctx, conn, &c) })
		if err != nil {
			return 0, err
		}
	}
	if err != nil && unanswered && !errors.Is(err, ErrOutcomeUnknown) {
		// The search finds no claim either if the server has yet to read the pipeline.
		return 0, fmt.Errorf("%w: %w", ErrOutcomeUnknown, mayBeLate(err))
	}

	return outcome, err
}

// mayBeLate makes an error one that does not say that nothing took effect, as a HandlerError does.
func mayBeLate(err error) error {
	var handlerErr *HandlerError
	if errors.As(err, &handlerErr) {
		return handlerErr.Err
	}

	return err
}

// attemptExec is one transaction, sent as one pipeline.
func (g *Guard) attemptExec(ctx context.Context, c call, queue func(b *pgx.Batch) error) (Outcome, error) {
	business := &pgx.Batch{}
	if err := queue(business); err != nil {
		return 0, statementsFailed(c, err)
	}
	if err := g.register(ctx); err != nil {
		return 0, err
	}
	p, err := g.newPipeline(ctx, c, business)
	if err != nil {
		return 0, err
	}
	conn, err := g.pool.Acquire(ctx)
	if err != nil {
		return 0, fmt.Errorf("idem: acquire a connection: %w", err)
	}
	defer conn.Release() // Destroys a connection that is not idle.

	outcome, err := p.send(ctx, conn.Conn())
	closeUseless(ctx, conn, err)

	return outcome, err
}

// pipeline is a whole transaction in one batch.
type pipeline struct {
	call       call
	batch      *pgx.Batch
	claim      *pgx.QueuedQuery
	statements int // of the business
}

// newPipeline puts the statements between the claim and the COMMIT.
//
// BEGIN and COMMIT are explicit, although PostgreSQL makes a pipeline without them one transaction
// too: that transaction would have the isolation level of the session, and a procedure that commits
// would split it. Statements that would end the transaction are refused: one of them could begin another,
// whose COMMIT would look like that of the claim. Only the text that is queued is seen here. What a
// pgx.QueryRewriter makes of it may end the transaction all the same; then the savepoint fails, which needs one.
func (g *Guard) newPipeline(ctx context.Context, c call, business *pgx.Batch) (*pipeline, error) {
	p := &pipeline{call: c, batch: &pgx.Batch{}, statements: business.Len()}
	p.batch.BeginTx(pgx.TxOptions{IsoLevel: c.isolation})
	err := g.queries.EventClaimOrFail(ctx, g.names.on(tables.Queuer{Batch: p.batch}), db.EventClaimOrFailParams(c.claimParams(g.consumer)))
	if err != nil {
		return nil, fmt.Errorf("idem: claim: %w", err)
	}
	p.claim = p.batch.QueuedQueries[p.batch.Len()-1]
	for _, query := range business.QueuedQueries {
		if query.Fn != nil {
			return nil, fmt.Errorf("%w: a query of ExecIfNew has a callback, which would run too late; use ProcessIfNew", ErrInvalidConfig)
		}
		if err := refuseEnd(query.SQL); err != nil {
			return nil, statementsFailed(c, err)
		}
		p.batch.Queue(query.SQL, query.Arguments...)
	}
	p.batch.Queue("SAVEPOINT idem")
	p.batch.Queue("COMMIT")

	return p, nil
}

// stage is how far a pipeline has come.
type stage int

const (
	stageBegin    stage = iota // BEGIN failed, or nothing was sent
	stageClaim                 // the claim failed
	stageBusiness              // a statement failed, or there was no transaction left behind them
	stageCommit                // the COMMIT failed
)

// send executes the pipeline. A unique violation of the claim is the only one that means a
// duplicate: one of the business comes later. Elsewhere the guard never goes by that error,
// because it aborts the transaction, which may be the caller's; here the transaction is the
// pipeline's own, and to abort it is the purpose.
func (p *pipeline) send(ctx context.Context, conn *pgx.Conn) (Outcome, error) {
	sendCtx, cancel := backoff.Outlive(ctx, p.call.retry.ResolveTimeout)
	defer cancel()
	release := cancelAtEnd(ctx, sendCtx, conn)
	results := conn.SendBatch(sendCtx, p.batch)
	reached, err := p.read(results)
	closed, status := conn.IsClosed(), conn.PgConn().TxStatus()
	release()
	if err == nil {
		return Processed, nil
	}
	aborted := !closed && status == 'E'
	if aborted {
		rollBack(ctx, results.Tx(), p.call)
	}
	if !aborted && !refused(reached, closed, err) {
		_ = conn.Close(sendCtx) // Else a COMMIT still under way might outlive the search for its outcome.

		return 0, fmt.Errorf("idem: %w: %w", errCommitUnanswered, err)
	}
	var pgErr *pgconn.PgError
	switch {
	case reached == stageBegin:
		return 0, p.notBegun(err)
	case reached == stageClaim && errors.As(err, &pgErr) && pgErr.Code == "23505":
		return AlreadyProcessed, nil
	case reached == stageClaim:
		return 0, fmt.Errorf("idem: claim: %w", explain(err))
	case reached == stageBusiness && !closed && status == 'I':
		// Another try might find the claim committed and take the event for done.
		return 0, &HandlerError{EventID: p.call.eventID, Err: fmt.Errorf("%w: %w", ErrHandlerTx, err)}
	case ctx.Err() != nil && errors.As(err, &pgErr) && pgErr.Code == "57014":
		return 0, fmt.Errorf("idem: not committed: %w: %w", ctx.Err(), err)
	case statementsLost(err):
		return 0, fmt.Errorf("idem: %w", err)
	default:
		return 0, statementsFailed(p.call, err)
	}
}

// cancelAtEnd cancels what runs on conn when ctx ends, by a request to the server. The server's
// answer then tells the outcome, which would be lost with the connection. Call the returned
// function before conn is used for anything else.
func cancelAtEnd(ctx, longer context.Context, conn *pgx.Conn) (release func()) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = conn.PgConn().CancelRequest(longer)
	})

	return func() {
		if !stop() {
			<-done
			_ = conn.Close(longer) // A late request must not hit somebody else's statement.
		}
	}
}

// read reads the results up to the first error and says where that was.
func (p *pipeline) read(results pgx.BatchResults) (stage, error) {
	reached := stageBegin
	_, err := results.Exec()
	if err == nil {
		reached = stageClaim
		_, err = results.Exec()
	}
	if err == nil {
		reached = stageBusiness
	}
	for i := 0; err == nil && i < p.statements; i++ {
		_, err = results.Exec()
	}
	if err == nil {
		var tag pgconn.CommandTag
		tag, err = results.Exec()
		// It is another one if a query has several statements, as the simple protocol allows.
		if err == nil && tag.String() == "SAVEPOINT" {
			reached = stageCommit
		}
	}
	if closeErr := results.Close(); err == nil { // COMMIT
		err = closeErr
	}

	return reached, err
}

// refused reports whether err proves that nothing was committed.
func refused(reached stage, closed bool, err error) bool {
	var (
		unsent pgx.ErrPreprocessingBatch
		pgErr  *pgconn.PgError
	)
	if errors.As(err, &unsent) || commitRefused(err) {
		return true
	}

	// pgx could not make a message of it, or the context had ended. Else it would be the server's
	// answer or the end of the connection.
	return reached == stageBegin && !errors.As(err, &pgErr) && !closed
}

// notBegun judges an error that came before BEGIN was executed. In some modes pgx prepares all
// statements first, in others it encodes them, and in the simple protocol the server parses them.
func (p *pipeline) notBegun(err error) error {
	var unsent pgx.ErrPreprocessingBatch
	switch {
	case errors.As(err, &unsent) && unsent.SQL() == p.claim.SQL:
		return fmt.Errorf("idem: claim: %w", explain(err))
	case IsTransient(err), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("idem: begin: %w", err)
	default:
		return statementsFailed(p.call, err)
	}
}

// statementsFailed is the error of business logic that is only statements.
func statementsFailed(c call, err error) error {
	transient, _ := verdict(err)

	return &HandlerError{EventID: c.eventID, Err: err, transient: transient}
}

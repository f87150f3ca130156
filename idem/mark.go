package idem

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nova-events/idempotent-consumer/internal/backoff"
)

// MarkProcessed claims an event without processing it, so that it counts as processed from then on. It
// returns Processed, or AlreadyProcessed if the event was processed before. It is one statement and one
// round trip (two if pgx first has to prepare it), in a transaction of its own at the session's isolation
// level.
//
// Transient errors and lost connections are handled as in ExecIfNew.
func (g *Guard) MarkProcessed(ctx context.Context, eventID string, opts ...ClaimOption) (Outcome, error) {
	c, err := newCall(ctx, g, OpMark, eventID, opts)
	if err != nil {
		return 0, err
	}

	return g.watchProcess(ctx, &c, func(ctx context.Context) (Outcome, error) {
		return g.settleAtOnce(ctx, c, func() (Outcome, error) { return g.attemptMark(ctx, c) })
	})
}

// attemptMark is one transaction: the claim alone.
func (g *Guard) attemptMark(ctx context.Context, c call) (Outcome, error) {
	if err := g.register(ctx); err != nil {
		return 0, err
	}
	conn, err := g.pool.Acquire(ctx)
	if err != nil {
		return 0, fmt.Errorf("idem: acquire a connection: %w", err)
	}
	defer conn.Release() // Destroys a connection that is not idle.

	outcome, err := g.mark(ctx, conn.Conn(), c)
	closeUseless(ctx, conn, err)

	return outcome, err
}

// mark executes the claim. What its error proves is judged as for a pipeline that ends at its first statement.
func (g *Guard) mark(ctx context.Context, conn *pgx.Conn, c call) (Outcome, error) {
	sendCtx, cancel := backoff.Outlive(ctx, c.retry.ResolveTimeout)
	defer cancel()
	release := cancelAtEnd(ctx, sendCtx, conn)
	n, err := g.queries.EventClaimOne(sendCtx, g.names.on(conn), c.claimParams(g.consumer))
	closed := conn.IsClosed()
	release()

	var pgErr *pgconn.PgError
	switch {
	case err == nil && n == 1:
		return Processed, nil
	case err == nil:
		return AlreadyProcessed, nil
	case !refused(stageBegin, closed, err):
		_ = conn.Close(sendCtx) // Else a statement still under way might outlive the search for its outcome.

		return 0, fmt.Errorf("idem: %w: %w", errCommitUnanswered, err)
	case ctx.Err() != nil && errors.As(err, &pgErr) && pgErr.Code == "57014":
		return 0, fmt.Errorf("idem: not committed: %w: %w", ctx.Err(), err)
	default:
		return 0, fmt.Errorf("idem: claim: %w", explain(err))
	}
}

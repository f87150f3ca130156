package idem

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/nova-events/idempotent-consumer/internal/backoff"
	"github.com/nova-events/idempotent-consumer/internal/sqlbridge"
)

// bridge is what package idemsql makes its Guard of.
type bridge struct{}

func init() { sqlbridge.Idem = bridge{} } //nolint:gochecknoinits // There is no other way from below.

// New returns a Guard whose transactions are those of a store. It has no pool, so only the methods that are
// called here, Register, Resolve and Lookup work.
func (bridge) New(store sqlbridge.Store, config Config) (*Guard, error) {
	g, err := newGuard(config)
	if err != nil {
		return nil, err
	}
	g.store = store

	return g, nil
}

// ClaimTx is Guard.ClaimTx in a transaction that is not pgx's.
func (bridge) ClaimTx(ctx context.Context, g *Guard, tx sqlbridge.Conn, eventID string, opts []ClaimOption) (Claim, error) {
	return g.claimIn(ctx, tx, eventID, opts)
}

// Process is Guard.ProcessIfNew.
func (bridge) Process(ctx context.Context, g *Guard, eventID string, fn func(context.Context, sqlbridge.Session) error, opts []ProcessOption) (Outcome, error) {
	c, err := newCall(ctx, g, OpProcess, eventID, opts)
	if err != nil {
		return 0, err
	}

	return g.processInSession(ctx, c, fn)
}

// Mark is Guard.MarkProcessed.
func (bridge) Mark(ctx context.Context, g *Guard, eventID string, opts []ClaimOption) (Outcome, error) {
	c, err := newCall(ctx, g, OpMark, eventID, opts)
	if err != nil {
		return 0, err
	}

	return g.processInSession(ctx, c, nil)
}

func (g *Guard) processInSession(ctx context.Context, c call, fn func(context.Context, sqlbridge.Session) error) (Outcome, error) {
	return g.watchProcess(ctx, &c, func(ctx context.Context) (Outcome, error) {
		return g.settle(ctx, c, func() (Outcome, error) { return g.attemptInSession(ctx, c, fn) })
	})
}

// attemptInSession is one transaction: claim, handler if there is one, COMMIT.
func (g *Guard) attemptInSession(ctx context.Context, c call, fn func(context.Context, sqlbridge.Session) error) (outcome Outcome, err error) {
	if err := g.register(ctx); err != nil {
		return 0, err
	}
	err = g.beginInSession(ctx, c, func(txCtx context.Context, tx sqlbridge.Session, got claimed) error {
		if !got.isNew(c) {
			outcome = AlreadyProcessed

			return g.duplicated(ctx, g.names.on(tx), &c)
		}
		if fn != nil {
			err := g.watchHandler(ctx, g.names.on(tx), c, func(ctx context.Context) error {
				err := fn(ctx, tx)

				return g.judgeInSession(txCtx, err, tx, c)
			})
			if err != nil {
				return err
			}
		}
		outcome = Processed

		return g.watchCommit(ctx, c, func(ctx context.Context) error {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("idem: not committed: %w", err)
			}

			return judgeCommit(tx.Commit(), c)
		})
	})
	if err != nil {
		outcome = 0
	}

	return outcome, err
}

// beginInSession is Guard.begin. The transaction outlives the caller's context, within limits, because database/sql
// rolls a transaction back as soon as the context ends that it was begun with, and then calls a COMMIT cancelled
// whatever became of it. fn gets the transaction's context.
func (g *Guard) beginInSession(ctx context.Context, c call, fn func(txCtx context.Context, tx sqlbridge.Session, got claimed) error) error {
	return g.inSession(ctx, func(s sqlbridge.Session) error {
		txCtx, cancel := backoff.Outlive(ctx, c.retry.ResolveTimeout)
		defer cancel()
		if err := s.Begin(txCtx, c.isolation); err != nil {
			return fmt.Errorf("idem: begin: %w", err)
		}
		defer func() {
			defer time.AfterFunc(c.retry.ResolveTimeout, cancel).Stop()
			if err := s.Rollback(); err != nil && !errors.Is(err, sql.ErrTxDone) {
				s.Break() // That rolls back, too.
			}
		}()
		if c.recordDuration {
			if err := g.queries.RoleNote(ctx, g.names.on(s)); err != nil {
				return fmt.Errorf("idem: note the role: %w", explain(err))
			}
		}
		got, err := g.watchClaim(ctx, c, func(ctx context.Context) (claimed, error) { return g.claim(ctx, g.names.on(s), c) })
		if err != nil {
			return err
		}

		return fn(txCtx, s, got)
	})
}

// inSession runs fn with a connection that is back in its pool when inSession returns.
func (g *Guard) inSession(ctx context.Context, fn func(s sqlbridge.Session) error) error {
	s, err := g.store.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("acquire a connection: %w", err)
	}
	defer s.Release()
	err = fn(s)
	if useless(err) || errors.Is(err, errCommitUnanswered) { // A COMMIT under way might outlive the search for its outcome.
		s.Break()
	}

	return err
}

// judgeInSession is judge for a transaction whose state only the server knows for certain: pgdriver calls it a success
// if the COMMIT of a transaction in which a statement failed rolls it back.
func (g *Guard) judgeInSession(ctx context.Context, err error, tx sqlbridge.Session, c call) error {
	if tx.IsBusy() {
		return judge(err, txBusy, c)
	}
	isOpen, probeErr := g.queries.TransactionIsOpen(ctx, g.names.on(tx))
	state := txOpen
	switch {
	case probeErr == nil && !isOpen, errors.Is(probeErr, sql.ErrTxDone) && ctx.Err() == nil:
		state = txEnded
	case commitRefused(probeErr):
		state = txAborted
	case probeErr != nil: // lib/pq and pgdriver do not tell a connection that is lost from one that is busy.
		tx.Break()
		state = txBusy
		if tx.Rollback() != nil {
			state, err = txLost, cmp.Or(err, ctx.Err(), fmt.Errorf("its connection was lost, or it left a query open: %w", probeErr))
		}
	}

	return judge(err, state, c)
}

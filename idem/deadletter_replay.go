package idem

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/internal/tables"
)

// NextDeadLetter returns the dead letter of the partition that is to be processed next: an operator has
// requested its replay, or the dead letters before it are resolved. It returns ErrNotFound if there is
// none, and costs the same however many there are. Each call counts as a start of that replay
// (PutBackDeadLetter).
func (o *Owner) NextDeadLetter(ctx context.Context) (DeadLetter, error) {
	var rows []db.DeadLetterNextRow
	err := o.onPool(ctx, func(g *Guard, conn db.DBTX) error {
		var err error
		rows, err = g.queries.DeadLetterNext(ctx, conn, db.DeadLetterNextParams{
			ConsumerID: g.consumer, Topic: o.partition.Topic, RecordPartition: o.partition.Number,
		})

		return err
	})
	if err != nil {
		return DeadLetter{}, err
	}
	if len(rows) == 0 {
		return DeadLetter{}, ErrNotFound
	}

	return newDeadLetter(rows[0]), nil
}

// PutBackDeadLetter subtracts the start that NextDeadLetter has counted, after an orderly stop.
func (o *Owner) PutBackDeadLetter(ctx context.Context, letter DeadLetter) error {
	return o.onPool(ctx, func(g *Guard, conn db.DBTX) error {
		return g.queries.DeadLetterPutBack(ctx, conn, db.DeadLetterPutBackParams{ConsumerID: g.consumer, ID: letter.ID})
	})
}

// Replay runs fn for a dead letter that NextDeadLetter returned and resolves it, in one transaction.
// The next parked dead letter of its key is then to be processed. The retention of the event starts
// with the replay, not when the record was stored. EventID may differ from what NextDeadLetter
// returned, if the strategy that makes the ids has been corrected.
//
// The outcome is AlreadyProcessed if somebody else has resolved the dead letter, or if the event was
// forgotten and then processed by another delivery; with WithFingerprint the error is a
// *CollisionError if that had another payload. Errors, and a COMMIT without an answer, are as with
// ProcessIfNew; after an error the dead letter is as it was (ReopenDeadLetter).
//
// The transaction holds the partition's lock: it is processed only while the owner has the partition
// (else ErrFenced), and the next owner waits for the transaction, or terminates it. The checkpoint does
// not move, and lanes go on. An unfenced owner holds no lock.
func (o *Owner) Replay(ctx context.Context, letter DeadLetter, fn Handler, opts ...ProcessOption) (Outcome, error) {
	if err := o.check(); err != nil {
		return 0, err
	}
	g := o.guard
	c, err := newCall(ctx, g, OpReplay, letter.eventID(), opts)
	switch {
	case err != nil:
		return 0, err
	case fn == nil:
		return 0, fmt.Errorf("%w: the handler is nil", ErrInvalidConfig)
	}
	c.partition, c.offset = letter.Partition, letter.Offset
	if o.fenced() {
		c.owner = o
	}
	c.replaces = &mark{key: letter.key, claimID: letter.ClaimID}
	if letter.key == uuid.Nil {
		c.replaces.key = c.key
	}

	return g.watchProcess(ctx, &c, func(ctx context.Context) (Outcome, error) {
		return g.settle(ctx, c, func() (Outcome, error) { return g.replay(ctx, c, letter, fn) })
	})
}

// replay is one transaction: the mark of the dead letter gives way to a claim as of any event, the
// dead letter is resolved, and the handler runs.
func (g *Guard) replay(ctx context.Context, c call, letter DeadLetter, fn Handler) (outcome Outcome, err error) {
	if err := g.register(ctx); err != nil {
		return 0, err
	}
	err = g.begin(ctx, c, func(tx pgx.Tx, got claimed) error {
		outcome = AlreadyProcessed
		if !got.isNew(c) {
			if err := g.duplicated(ctx, g.names.on(tx), &c); err != nil {
				return err
			}
		}
		resolved, err := g.resolveDeadLetter(ctx, tx, c, letter, got.isNew(c))
		switch {
		case err != nil:
			return fmt.Errorf("idem: resolve the dead letter: %w", explain(err))
		case !resolved:
			return nil
		case !got.isNew(c):
			return g.commit(ctx, tx, c)
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
		return 0, err
	}

	return outcome, nil
}

// resolveDeadLetter reports whether the dead letter was still to be processed. It is superseded if the
// event is not new.
func (g *Guard) resolveDeadLetter(ctx context.Context, tx pgx.Tx, c call, letter DeadLetter, isNew bool) (bool, error) {
	conn, ids := g.names.on(tx), []string{letter.ID.String()}
	if err := g.queries.DeadLetterLockKeys(ctx, conn, db.DeadLetterLockKeysParams{ConsumerID: g.consumer, Ids: ids}); err != nil {
		return false, err
	}
	params := db.DeadLetterResolveParams{State: string(DeadLetterSuperseded), ConsumerID: g.consumer, ID: letter.ID}
	if isNew {
		params.State, params.ClaimID = string(DeadLetterReplayed), nullable(c.claimID)
	}
	if letter.EventID != "" {
		params.EventID = &letter.EventID
	}
	n, err := g.queries.DeadLetterResolve(ctx, conn, params)
	if err != nil || n == 0 {
		return false, err
	}
	_, err = g.queries.DeadLetterRelease(ctx, conn, db.DeadLetterReleaseParams{ConsumerID: g.consumer, Ids: ids})

	return true, err
}

// ReopenDeadLetter stores that a replay failed after that many more attempts: the dead letter is
// open again, for an operator to decide. letter.Copied is stored if it is true.
func (o *Owner) ReopenDeadLetter(ctx context.Context, letter DeadLetter, attempts int, cause error) error {
	return o.onPool(ctx, func(g *Guard, conn db.DBTX) error {
		_, err := g.queries.DeadLetterFail(ctx, conn, db.DeadLetterFailParams{
			ConsumerID: g.consumer, ID: letter.ID, Copied: letter.Copied,
			Attempts: int32(attempts), Error: tables.CleanText(cause.Error()), //nolint:gosec // Nobody tries that often.
		})

		return err
	})
}

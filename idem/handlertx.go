package idem

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// handlerTx is the transaction as a handler sees it: all of it but its end. A statement that would end
// it is not sent. After a COMMIT in the middle of a batch the claims of all its events would be
// there, and the effects of some.
type handlerTx struct{ handlerSavepoint }

func (handlerTx) Commit(context.Context) error { return ErrHandlerTx }

// Rollback does nothing, so that the habit of deferring it stays harmless.
func (handlerTx) Rollback(context.Context) error { return ErrHandlerTx }

// handlerSavepoint is a savepoint of a handler's.
type handlerSavepoint struct{ pgx.Tx }

func (tx handlerSavepoint) Begin(ctx context.Context) (pgx.Tx, error) {
	inner, err := tx.Tx.Begin(ctx)
	if err != nil {
		return nil, err
	}

	return handlerSavepoint{inner}, nil
}

func (tx handlerSavepoint) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	if err := refuseEnd(sql); err != nil {
		return pgconn.CommandTag{}, err
	}

	return tx.Tx.Exec(ctx, sql, args...)
}

func (tx handlerSavepoint) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if err := refuseEnd(sql); err != nil {
		return nil, err
	}

	return tx.Tx.Query(ctx, sql, args...)
}

func (tx handlerSavepoint) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	if err := refuseEnd(sql); err != nil {
		return refusedRow{err}
	}

	return tx.Tx.QueryRow(ctx, sql, args...)
}

func (tx handlerSavepoint) Prepare(ctx context.Context, name, sql string) (*pgconn.StatementDescription, error) {
	if err := refuseEnd(sql); err != nil {
		return nil, err
	}

	return tx.Tx.Prepare(ctx, name, sql)
}

func (tx handlerSavepoint) SendBatch(ctx context.Context, batch *pgx.Batch) pgx.BatchResults {
	for _, query := range batch.QueuedQueries {
		if err := refuseEnd(query.SQL); err != nil {
			return refusedBatch{err: err, refused: query, batch: batch}
		}
	}

	return tx.Tx.SendBatch(ctx, batch)
}

// refusedRow is the answer to what was not sent.
type refusedRow struct{ err error }

func (r refusedRow) Scan(...any) error { return r.err }

// refusedBatch is the answer to a batch that was not sent because of one of its queries. Close calls
// the function of that query, if it has one, so that the caller learns which query it was.
type refusedBatch struct {
	err     error
	refused *pgx.QueuedQuery
	batch   *pgx.Batch
}

func (b refusedBatch) Exec() (pgconn.CommandTag, error) { return pgconn.CommandTag{}, b.err }
func (b refusedBatch) Query() (pgx.Rows, error)         { return nil, b.err }
func (b refusedBatch) QueryRow() pgx.Row                { return refusedRow{b.err} }
func (b refusedBatch) Tx() pgx.Tx                       { return nil }
func (b refusedBatch) Close() error {
	if read := b.refused.Fn; read != nil {
		_ = read(b) // It can only fail with err.
	}

	return b.err
}

func refuseEnd(sql string) error {
	if endsTransaction(sql) {
		return fmt.Errorf("%w: not sent: %.40q", ErrHandlerTx, strings.TrimSpace(sql))
	}

	return nil
}

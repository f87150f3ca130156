package idemtest

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// probedTx is the transaction, or a savepoint, that a handler is given.
type probedTx struct {
	pgx.Tx

	turn *turn
}

func (tx probedTx) Begin(ctx context.Context) (pgx.Tx, error) {
	if err := tx.turn.going("SAVEPOINT"); err != nil {
		return nil, err
	}
	inner, err := tx.Tx.Begin(ctx)
	if err != nil {
		return nil, err
	}

	return probedTx{Tx: inner, turn: tx.turn}, nil
}

func (tx probedTx) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	fails, err := tx.turn.begin(sql)
	switch {
	case err != nil:
		return pgconn.CommandTag{}, err
	case fails:
		return tx.Tx.Exec(ctx, failure)
	default:
		return tx.Tx.Exec(ctx, sql, args...)
	}
}

func (tx probedTx) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	fails, err := tx.turn.begin(sql)
	switch {
	case err != nil:
		return refusedRows{err}, err
	case fails:
		return tx.Tx.Query(ctx, failure)
	default:
		return tx.Tx.Query(ctx, sql, args...)
	}
}

func (tx probedTx) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	fails, err := tx.turn.begin(sql)
	switch {
	case err != nil:
		return refusedRows{err}
	case fails:
		return tx.Tx.QueryRow(ctx, failure)
	default:
		return tx.Tx.QueryRow(ctx, sql, args...)
	}
}

// SendBatch sends a batch, which counts as one statement.
func (tx probedTx) SendBatch(ctx context.Context, batch *pgx.Batch) pgx.BatchResults {
	sql := "an empty batch"
	if batch.Len() > 0 {
		sql = "a batch that begins with " + batch.QueuedQueries[0].SQL
	}
	fails, err := tx.turn.begin(sql)
	if fails {
		_, err = tx.Tx.Exec(ctx, failure)
	}
	if err != nil {
		return pgx.FailedBatchResults(batch, err)
	}

	return tx.Tx.SendBatch(ctx, batch)
}

func (tx probedTx) CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, source pgx.CopyFromSource) (int64, error) {
	fails, err := tx.turn.begin("COPY " + table.Sanitize())
	if fails {
		_, err = tx.Tx.Exec(ctx, failure)
	}
	if err != nil {
		return 0, err
	}

	return tx.Tx.CopyFrom(ctx, table, columns, source)
}

// refusedRows are the answer to a query that was not sent.
type refusedRows struct{ err error }

func (refusedRows) Close()                                       {}
func (r refusedRows) Err() error                                 { return r.err }
func (refusedRows) CommandTag() pgconn.CommandTag                { return pgconn.CommandTag{} }
func (refusedRows) FieldDescriptions() []pgconn.FieldDescription { return nil }
func (refusedRows) Next() bool                                   { return false }
func (r refusedRows) Scan(...any) error                          { return r.err }
func (r refusedRows) Values() ([]any, error)                     { return nil, r.err }
func (refusedRows) RawValues() [][]byte                          { return nil }
func (refusedRows) TypeMap() *pgtype.Map                         { return nil }
func (refusedRows) Conn() *pgx.Conn                              { return nil }

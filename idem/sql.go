package idem

import (
	"context"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/schema"
)

// qualifier puts the name of the configured schema into the generated SQL, once for each
// statement.
type qualifier struct {
	name  string
	texts sync.Map // as generated → as sent
}

// on returns conn with the generated SQL directed at the configured schema.
func (q *qualifier) on(conn db.DBTX) db.DBTX {
	if q.name == schema.DefaultName {
		return conn
	}

	return qualified{DBTX: conn, names: q}
}

func (q *qualifier) sql(generated string) string {
	if text, ok := q.texts.Load(generated); ok {
		return text.(string) //nolint:forcetypeassert // Only strings are stored, below.
	}
	text := schema.Qualify(generated, q.name)
	q.texts.Store(generated, text)

	return text
}

type qualified struct {
	db.DBTX

	names *qualifier
}

func (c qualified) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	return c.DBTX.Exec(ctx, c.names.sql(sql), args...)
}

func (c qualified) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	return c.DBTX.Query(ctx, c.names.sql(sql), args...)
}

func (c qualified) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return c.DBTX.QueryRow(ctx, c.names.sql(sql), args...)
}

// beginner is a connection whose next statement travels together with the BEGIN of the
// transaction that it is part of, which saves a round trip.
type beginner struct {
	*pgx.Conn

	options pgx.TxOptions
	first   pgx.Batch // statements that travel between BEGIN and that one, by way of a tables.Queuer
	tx      pgx.Tx    // set by Exec and Query, unless nothing could be sent
}

// send returns the results of a batch from the statement on.
func (b *beginner) send(ctx context.Context, sql string, args []any) (pgx.BatchResults, error) {
	batch := &pgx.Batch{}
	batch.BeginTx(b.options)
	for _, query := range b.first.QueuedQueries {
		batch.Queue(query.SQL, query.Arguments...)
	}
	batch.Queue(sql, args...)
	results := b.SendBatch(ctx, batch)
	b.tx = results.Tx()
	for range 1 + b.first.Len() {
		if _, err := results.Exec(); err != nil {
			_ = results.Close()

			return nil, err
		}
	}

	return results, nil
}

func (b *beginner) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	results, err := b.send(ctx, sql, args)
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	tag, err := results.Exec()
	if closeErr := results.Close(); err == nil {
		err = closeErr
	}

	return tag, err
}

func (b *beginner) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	results, err := b.send(ctx, sql, args)
	if err != nil {
		return nil, err
	}
	rows, err := results.Query()
	if err != nil {
		_ = results.Close()

		return nil, err
	}

	return &lastRows{Rows: rows, results: results}, nil
}

// lastRows are the rows of a batch's last query. With them the batch ends.
type lastRows struct {
	pgx.Rows

	results pgx.BatchResults
	err     error
}

func (r *lastRows) Next() bool {
	if r.Rows.Next() {
		return true
	}
	r.Close()

	return false
}

func (r *lastRows) Close() {
	r.Rows.Close()
	r.err = r.results.Close()
}

func (r *lastRows) Err() error {
	if err := r.Rows.Err(); err != nil {
		return err
	}

	return r.err
}

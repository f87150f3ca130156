package tables

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/schema"
)

// Qualified sends the generated SQL to the tables in the schema of a name.
type Qualified struct {
	db.DBTX

	Schema string
}

// Exec implements db.DBTX.
func (q Qualified) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	return q.DBTX.Exec(ctx, schema.Qualify(sql, q.Schema), args...)
}

// Query implements db.DBTX.
func (q Qualified) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	return q.DBTX.Query(ctx, schema.Qualify(sql, q.Schema), args...)
}

// QueryRow implements db.DBTX.
func (q Qualified) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return q.DBTX.QueryRow(ctx, schema.Qualify(sql, q.Schema), args...)
}

// Queuer queues the statements that the generated code executes.
type Queuer struct {
	db.DBTX // nil: there are no rows to be had

	Batch *pgx.Batch
}

// Exec implements db.DBTX.
func (q Queuer) Exec(_ context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	q.Batch.Queue(sql, args...)

	return pgconn.CommandTag{}, nil
}

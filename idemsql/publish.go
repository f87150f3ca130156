package idemsql

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/outbox"
)

// Publish is outbox.Publish in a transaction of database/sql, with its errors.
func Publish(ctx context.Context, tx *sql.Tx, records ...outbox.Record) error {
	return Publisher{}.Publish(ctx, tx, records...)
}

// Publisher publishes in another schema than the usual one, as an outbox.Publisher does.
type Publisher struct {
	// Schema is the PostgreSQL schema of the tables. Default "idem".
	Schema string
}

// Publish is like the function Publish.
func (p Publisher) Publish(ctx context.Context, tx *sql.Tx, records ...outbox.Record) error {
	if tx == nil {
		return fmt.Errorf("%w: the transaction is nil", idem.ErrInvalidConfig)
	}

	return outbox.Publisher{Schema: p.Schema}.Publish(ctx, pgxTx{querier: querier{on: tx}}, records...) //nolint:wrapcheck // It says all.
}

// pgxTx is a *sql.Tx as package outbox publishes in it: it calls Exec, and nothing else.
type pgxTx struct {
	pgx.Tx

	querier querier
}

func (tx pgxTx) Exec(ctx context.Context, query string, args ...any) (pgconn.CommandTag, error) {
	return tx.querier.Exec(ctx, query, args...)
}

package idemsql

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/jackc/pgx/v5"

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
	var batch pgx.Batch
	if err := (outbox.Publisher{Schema: p.Schema}).Queue(&batch, records...); err != nil { //nolint:contextcheck // It does no I/O.
		return err //nolint:wrapcheck // It says all.
	}
	for _, statement := range batch.QueuedQueries {
		if _, err := (querier{on: tx}).Exec(ctx, statement.SQL, statement.Arguments...); err != nil {
			return fmt.Errorf("outbox: publish: %w", err)
		}
	}

	return nil
}

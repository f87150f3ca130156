package lease

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/db"
)

// exchange is a transaction in one round trip: what is executed is sent with the query behind it, between BEGIN and
// COMMIT. After an error the connection is of no more use, and the pool closes it.
type exchange struct {
	db.DBTX // nil

	conn    *pgxpool.Conn
	waiting []*pgx.QueuedQuery
}

// Exec implements db.DBTX.
func (e *exchange) Exec(_ context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	e.waiting = append(e.waiting, &pgx.QueuedQuery{SQL: sql, Arguments: args})

	return pgconn.CommandTag{}, nil
}

// QueryRow implements db.DBTX.
func (e *exchange) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	batch := &pgx.Batch{}
	batch.BeginTx(pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	batch.QueuedQueries = append(batch.QueuedQueries, e.waiting...)
	before := batch.Len()
	batch.Queue(sql, args...)
	batch.Queue("COMMIT")

	return answer{e.conn.SendBatch(ctx, batch), before}
}

// answer is a row behind the results of other statements. Scan ends the transaction.
type answer struct {
	results pgx.BatchResults
	before  int
}

func (a answer) Scan(dest ...any) (err error) {
	defer func() {
		if closeErr := a.results.Close(); err == nil {
			err = closeErr // of the COMMIT
		}
	}()
	for range a.before {
		if _, err := a.results.Exec(); err != nil {
			return err
		}
	}

	return a.results.QueryRow().Scan(dest...)
}

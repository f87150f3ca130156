package outbox

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/tables"
	"github.com/nova-events/idempotent-consumer/schema"
)

// Publish writes records in the transaction tx. A relay sends them to Kafka after the COMMIT; if the
// transaction rolls back, nobody hears of them. It takes one round trip, however many records there are.
//
// To keep the order of a key between transactions, publish after the statements by which the transactions wait for each other:
// after the UPDATE of the account, not before it.
//
// Errors wrap ErrInvalidRecord, idem.ErrInvalidConfig (a nil transaction, an invalid schema), idem.ErrNotMigrated, or are those of the
// connection. After an error of the connection the transaction can only be rolled back.
func Publish(ctx context.Context, tx pgx.Tx, records ...Record) error {
	return Publisher{}.Publish(ctx, tx, records...)
}

// Queue is Publish for a batch of statements, such as the one that consume.Config.HandleQueue is given. It does no I/O, and
// copies the records: keys and values may change before the batch is sent.
func Queue(batch *pgx.Batch, records ...Record) error { return Publisher{}.Queue(batch, records...) }

// Publisher publishes in another schema than the usual one. The zero value is ready for use.
type Publisher struct {
	// Schema is the PostgreSQL schema of the tables. Default "idem".
	Schema string
}

// Publish is like the function Publish.
func (p Publisher) Publish(ctx context.Context, tx pgx.Tx, records ...Record) error {
	if tx == nil {
		return fmt.Errorf("%w: the transaction is nil", idem.ErrInvalidConfig)
	}

	return p.insert(ctx, tx, records)
}

// Queue is like the function Queue.
func (p Publisher) Queue(batch *pgx.Batch, records ...Record) error {
	if batch == nil {
		return fmt.Errorf("%w: the batch is nil", idem.ErrInvalidConfig)
	}
	records = slices.Clone(records)
	for i := range records {
		r := &records[i]
		r.Key, r.Value = bytes.Clone(r.Key), bytes.Clone(r.Value)
	}

	return p.insert(context.Background(), tables.Queuer{Batch: batch}, records)
}

func (p Publisher) insert(ctx context.Context, conn db.DBTX, records []Record) error {
	name := cmp.Or(p.Schema, schema.DefaultName)
	if err := schema.Validate(name); err != nil {
		return fmt.Errorf("%w: %w", idem.ErrInvalidConfig, err)
	}
	if len(records) == 0 {
		return nil
	}
	params, err := insertParams(records)
	if err != nil {
		return err
	}
	if err := queries.OutboxInsert(ctx, tables.Qualified{DBTX: conn, Schema: name}, params); err != nil {
		return fmt.Errorf("outbox: publish: %w", explain(err))
	}

	return nil
}

func insertParams(records []Record) (db.OutboxInsertParams, error) {
	n := len(records)
	p := db.OutboxInsertParams{
		KeyHashes: make([]int64, n), EventIds: make([]string, n), Topics: make([]string, n), Keys: make([][]byte, n), Values: make([][]byte, n),
		HeaderKeys: make([]string, n), HeaderValues: make([]string, n),
	}
	for i := range records {
		r := &records[i]
		if err := r.validate(); err != nil {
			return p, err
		}
		id := r.EventID
		if id == "" {
			made, err := uuid.NewV7()
			if err != nil {
				return p, fmt.Errorf("outbox: make an event id: %w", err)
			}
			id = made.String()
		}
		p.KeyHashes[i], p.EventIds[i], p.Topics[i], p.Values[i] = r.keyHash(), id, r.Topic, r.Value
		if len(r.Key) > 0 {
			p.Keys[i] = r.Key
		}
		p.HeaderKeys[i], p.HeaderValues[i] = r.headers()
	}

	return p, nil
}

var queries = db.New()

// explain adds what to do to an error of tables that are not there.
func explain(err error) error {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && (pgErr.Code == "42P01" || pgErr.Code == "3F000") {
		return fmt.Errorf("%w: %w", idem.ErrNotMigrated, err)
	}

	return err
}

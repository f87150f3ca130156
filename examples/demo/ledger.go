package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
)

// applyBatch is apply for many payments at once.
func applyBatch(ctx context.Context, tx pgx.Tx, messages []consume.Message) error {
	var (
		ids                 = make([]string, len(messages))
		accounts            = make([]int, len(messages))
		cents               = make([]int64, len(messages))
		partitions, offsets = make([]int32, len(messages)), make([]int64, len(messages))
	)
	for i, m := range messages {
		p, err := decode(m.Record)
		if err != nil {
			return &idem.EventError{Index: i, Err: err}
		}
		ids[i], accounts[i], cents[i], partitions[i], offsets[i] = eventID(m.Record), p.Account, p.Cents, m.Partition, m.Offset
	}
	batch := &pgx.Batch{}
	batch.Queue(`UPDATE accounts SET balance = balance + p.cents
		FROM (SELECT account, sum(cents) AS cents FROM unnest($1::integer[], $2::bigint[]) AS p (account, cents) GROUP BY account) AS p
		WHERE id = p.account`, accounts, cents)
	batch.Queue(`INSERT INTO ledger (event_id, account, cents, "partition", "offset")
		SELECT id::uuid, account, cents, p, o
		FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::integer[], $5::bigint[]) AS l (id, account, cents, p, o)`,
		ids, accounts, cents, partitions, offsets)
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("apply the payments: %w", err)
	}

	return nil
}

// apply is the business logic of the naive and of the guarded consumer: it changes the balance of the account and
// writes down why.
func apply(ctx context.Context, tx pgx.Tx, m consume.Record) error {
	p, err := decode(m)
	if err != nil {
		return err
	}
	batch := &pgx.Batch{}
	batch.Queue(`UPDATE accounts SET balance = balance + $1 WHERE id = $2`, p.Cents, p.Account)
	batch.Queue(`INSERT INTO ledger (event_id, account, cents, "partition", "offset") VALUES ($1, $2, $3, $4, $5)`,
		eventID(m), p.Account, p.Cents, m.Partition, m.Offset)
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("apply the payment: %w", err)
	}

	return nil
}

func decode(r consume.Record) (p payment, err error) {
	if err := json.Unmarshal(r.Value, &p); err != nil {
		return p, fmt.Errorf("decode the payment at offset %d of partition %d: %w", r.Offset, r.Partition, err)
	}

	return p, nil
}

func eventID(r consume.Record) string { return consume.HeaderCarrier(r.Headers).Get(eventIDHeader) }

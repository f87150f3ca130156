package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go"
)

// apply is the business logic of both consumers: it changes the balance of the account and
// writes down why.
func apply(ctx context.Context, tx pgx.Tx, m kafka.Message) error {
	var p payment
	if err := json.Unmarshal(m.Value, &p); err != nil {
		return fmt.Errorf("decode the payment at offset %d of partition %d: %w", m.Offset, m.Partition, err)
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

func eventID(m kafka.Message) string {
	for _, h := range m.Headers {
		if h.Key == eventIDHeader {
			return string(h.Value)
		}
	}

	return ""
}

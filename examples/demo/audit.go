package main

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

//go:embed audit.sql
var auditSQL string

// audit is what the database says about one phase. Money is in cents.
type audit struct {
	Events          int64 `db:"events"`           // distinct payments that were sent
	Lost            int64 `db:"lost"`             // payments that were never applied
	Doubled         int64 `db:"doubled"`          // payments that were applied more than once
	Unknown         int64 `db:"unknown"`          // applied, but never sent
	Entries         int64 `db:"entries"`          // how often any payment was applied
	Redelivered     int64 `db:"redelivered"`      // of the doubled, those with one and the same Kafka record applied again
	WrongAccounts   int64 `db:"wrong_accounts"`   // accounts whose balance is not what it should be
	ExpectedBalance int64 `db:"expected_balance"` // of all accounts together
	ActualBalance   int64 `db:"actual_balance"`
}

// right reports whether each payment was applied exactly once.
func (a audit) right() bool {
	return a.Lost == 0 && a.Doubled == 0 && a.Unknown == 0 && a.WrongAccounts == 0
}

func readAudit(ctx context.Context, pool *pgxpool.Pool) (audit, error) {
	rows, err := pool.Query(ctx, auditSQL)
	if err != nil {
		return audit{}, fmt.Errorf("read the ledger: %w", err)
	}
	a, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[audit])
	if err != nil {
		return audit{}, fmt.Errorf("read the ledger: %w", err)
	}

	return a, nil
}

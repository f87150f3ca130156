package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

//go:embed tables.sql
var tables string

// connect opens a pool whose unqualified names mean the tables in schema.
func connect(ctx context.Context, dsn, schema string) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("read the database URL: %w", err)
	}
	config.ConnConfig.RuntimeParams["search_path"] = schema
	config.ConnConfig.RuntimeParams["application_name"] = "idem demo"
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()

		return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
	}

	return pool, nil
}

// createTables makes the tables of one phase, in a schema of their own, with the accounts as
// they are at the start and the payments that are to come.
func createTables(ctx context.Context, pool *pgxpool.Pool, schema string, payments []payment) error {
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "CREATE SCHEMA "+pgx.Identifier{schema}.Sanitize()); err != nil {
			return fmt.Errorf("create a schema: %w", err)
		}
		if _, err := tx.Exec(ctx, tables); err != nil {
			return fmt.Errorf("create the tables: %w", err)
		}
		if _, err := tx.Exec(ctx, `INSERT INTO accounts (id, opening, balance) SELECT id, $2, $2 FROM generate_series(0, $1::integer - 1) AS id`,
			accounts, openingBalance); err != nil {
			return fmt.Errorf("open the accounts: %w", err)
		}
		rows := pgx.CopyFromSlice(len(payments), func(i int) ([]any, error) {
			return []any{payments[i].ID, payments[i].Account, payments[i].Cents}, nil
		})
		if _, err := tx.CopyFrom(ctx, pgx.Identifier{"payments"}, []string{"event_id", "account", "cents"}, rows); err != nil {
			return fmt.Errorf("store the payments to come: %w", err)
		}

		return nil
	})
	if err != nil {
		return fmt.Errorf("prepare the database: %w", err)
	}

	return nil
}

// dropSchema removes all that a phase made in the database.
func dropSchema(ctx context.Context, dsn, schema string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL to remove the tables: %w", err)
	}
	_, err = conn.Exec(ctx, "DROP SCHEMA IF EXISTS "+pgx.Identifier{schema}.Sanitize()+" CASCADE")
	if err = errors.Join(err, conn.Close(ctx)); err != nil {
		return fmt.Errorf("remove the tables: %w", err)
	}

	return nil
}

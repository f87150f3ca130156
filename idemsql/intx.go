package idemsql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
)

// InTx runs fn with a *sql.Tx that is tx, the transaction of pgx that a handler is given: by idem.Guard.ProcessIfNew,
// and by a Kafka consumer (consume.Config.Handle). What fn does through it, by way of an ORM for instance, takes effect
// together with the claim and the checkpoint. Return the error of InTx from the handler:
//
//	Handle: func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
//		return idemsql.InTx(ctx, tx, func(ctx context.Context, tx *sql.Tx) error { … })
//	},
//
// The transaction is ended by the guard. Commit of the *sql.Tx returns idem.ErrHandlerTx and ends its use, and nothing
// else; Rollback ends its use too, so fn may defer it. Statements that would end the transaction are not sent.
// Queries that fn leaves open are closed, and the *sql.Tx cannot be used after fn has returned. Values have the types
// that database/sql has with pgx (package stdlib). Statements that were prepared with another *sql.DB are refused by
// database/sql.
func InTx(ctx context.Context, tx pgx.Tx, fn func(ctx context.Context, tx *sql.Tx) error) error {
	if tx == nil || fn == nil {
		return fmt.Errorf("%w: the transaction or the function is nil", idem.ErrInvalidConfig)
	}
	db := sql.OpenDB(connector{tx})
	defer db.Close() //nolint:errcheck // There is nothing to close but the view.
	view, err := db.BeginTx(context.WithoutCancel(ctx), nil)
	if err != nil {
		return err
	}
	defer view.Rollback() //nolint:errcheck // It ends the view and its queries only.

	return fn(ctx, view)
}

// connector leads database/sql to the one connection that there is.
type connector struct{ tx pgx.Tx }

func (c connector) Connect(context.Context) (driver.Conn, error) { return conn(c), nil }
func (c connector) Driver() driver.Driver                        { return c }

func (c connector) Open(string) (driver.Conn, error) { return conn(c), nil }

// conn is a transaction of pgx as a connection of database/sql. What it begins is a view: it ends nothing.
type conn struct{ tx pgx.Tx }

var (
	_ driver.ConnBeginTx       = conn{}
	_ driver.ExecerContext     = conn{}
	_ driver.QueryerContext    = conn{}
	_ driver.NamedValueChecker = conn{}
)

func (conn) Close() error { return nil }

func (c conn) Begin() (driver.Tx, error)                                    { return end{}, nil }
func (c conn) BeginTx(context.Context, driver.TxOptions) (driver.Tx, error) { return end{}, nil }

// end is the end of a view.
type end struct{}

func (end) Commit() error   { return idem.ErrHandlerTx }
func (end) Rollback() error { return nil }

// CheckNamedValue lets all values pass: pgx knows what to do with them, and with those of database/sql's Valuers.
func (conn) CheckNamedValue(*driver.NamedValue) error { return nil }

func (c conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	tag, err := c.tx.Exec(ctx, query, values(args)...)

	return driver.RowsAffected(tag.RowsAffected()), err
}

func (c conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	found, err := c.tx.Query(ctx, query, append([]any{resultFormats}, values(args)...)...)
	if err != nil {
		return nil, err
	}
	// Only then the columns are known. An error of the query must come before its rows do.
	more := found.Next()
	if err := found.Err(); err != nil {
		return nil, err
	}

	return newViewRows(found, c.tx.Conn().TypeMap(), more), nil
}

func values(args []driver.NamedValue) []any {
	all := make([]any, len(args))
	for i, arg := range args {
		all[i] = arg.Value
	}

	return all
}

func (c conn) Prepare(query string) (driver.Stmt, error) { return statement{c, query}, nil }

// statement is prepared by pgx when it is first executed.
type statement struct {
	conn

	query string
}

func (s statement) NumInput() int { return -1 } // pgx counts.

func (s statement) Exec([]driver.Value) (driver.Result, error) { return nil, driver.ErrSkip }
func (s statement) Query([]driver.Value) (driver.Rows, error)  { return nil, driver.ErrSkip }

func (s statement) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return s.conn.ExecContext(ctx, s.query, args)
}

func (s statement) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.conn.QueryContext(ctx, s.query, args)
}

// Package sqlbridge leads from package idemsql, a module of its own, to what package idem keeps to itself. So
// claims in transactions of database/sql are made by the same code and the same SQL as all others.
package sqlbridge

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Idem is what package idem offers to idemsql, which asserts its methods. It is of no type that could be named
// here, because idem imports this package.
var Idem any

// Conn executes statements. Package db generates the code that needs it.
type Conn interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Store is the database of a guard without a pgxpool. In the errors of all its methods the server's own are
// *pgconn.PgError.
type Store interface {
	// Acquire takes a connection from the database's pool.
	Acquire(ctx context.Context) (Session, error)
}

// Session is such a connection. Its statements are those of its transaction, if it has begun one.
type Session interface {
	Conn

	// Begin begins a transaction, which is rolled back when ctx ends.
	Begin(ctx context.Context, isolation pgx.TxIsoLevel) error
	Commit() error
	Rollback() error

	// IsBusy reports whether a query is open, as far as the driver tells.
	IsBusy() bool
	// Break has Release close the connection.
	Break()
	// Release gives the connection back to the pool. Its transaction must have ended.
	Release()
}

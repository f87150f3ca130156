package idemsql

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// querier executes the statements of package idem with database/sql: on a *sql.Tx or a *sql.Conn.
type querier struct {
	on interface {
		ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
		QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	}
}

func (q querier) Exec(ctx context.Context, query string, args ...any) (pgconn.CommandTag, error) {
	args, err := simple(args)
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	result, err := q.on.ExecContext(ctx, query, args...)
	if err != nil {
		return pgconn.CommandTag{}, explain(err)
	}
	n, err := result.RowsAffected()

	return pgconn.NewCommandTag("ROWS " + strconv.FormatInt(n, 10)), err
}

func (q querier) Query(ctx context.Context, query string, args ...any) (pgx.Rows, error) {
	args, err := simple(args)
	if err != nil {
		return nil, err
	}
	found, err := q.on.QueryContext(ctx, query, args...) //nolint:rowserrcheck // The generated code calls rows.Err.
	if err != nil {
		return nil, explain(err)
	}

	return rows{found: found}, nil
}

func (q querier) QueryRow(ctx context.Context, query string, args ...any) pgx.Row {
	found, err := q.Query(ctx, query, args...)

	return row{found, err}
}

// arrays are the types of the arguments that drivers take in different ways, or not at all.
var arrays = pgtype.NewMap()

// simple returns arguments that every driver takes: of arrays the text.
func simple(args []any) ([]any, error) {
	for i, arg := range args {
		var oid uint32
		switch arg := arg.(type) {
		case []string:
			oid = pgtype.TextArrayOID
		case []int64:
			oid = pgtype.Int8ArrayOID
		case [][]byte:
			oid = pgtype.ByteaArrayOID
		case time.Duration:
			args[i] = fmt.Sprintf("%d microseconds", arg.Microseconds())

			continue
		default:
			continue
		}
		text, err := arrays.Encode(oid, pgtype.TextFormatCode, arg, nil)
		if err != nil {
			return nil, fmt.Errorf("idemsql: encode an argument: %w", err)
		}
		args[i] = string(text)
	}

	return args, nil
}

// rows are those of database/sql. The generated code calls no other methods.
type rows struct {
	pgx.Rows

	found *sql.Rows
}

func (r rows) Next() bool { return r.found.Next() }
func (r rows) Close()     { _ = r.found.Close() }
func (r rows) Err() error { return explain(r.found.Err()) }

func (r rows) Scan(into ...any) error {
	for i, to := range into {
		if raw, ok := to.(*json.RawMessage); ok {
			into[i] = (*[]byte)(raw) // Else a null would be an error.
		}
	}

	return r.found.Scan(into...)
}

// row is the first of some.
type row struct {
	pgx.Rows

	err error
}

func (r row) Scan(into ...any) error {
	if r.err != nil {
		return r.err
	}
	defer r.Close()
	if !r.Next() {
		return cmp.Or(r.Err(), pgx.ErrNoRows)
	}
	if err := r.Rows.Scan(into...); err != nil {
		return err
	}
	r.Close() // An error that comes after the row is one of the query's.

	return r.Err()
}

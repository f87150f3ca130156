package idemsql

import (
	"bytes"
	"database/sql/driver"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// resultFormats has the server send values as text where database/sql gets text, and the others in a form that does
// not depend on the session's settings, such as its DateStyle.
var resultFormats = pgx.QueryResultFormatsByOID{
	pgtype.BoolOID: pgx.BinaryFormatCode, pgtype.ByteaOID: pgx.BinaryFormatCode,
	pgtype.Int2OID: pgx.BinaryFormatCode, pgtype.Int4OID: pgx.BinaryFormatCode, pgtype.Int8OID: pgx.BinaryFormatCode,
	pgtype.Float4OID: pgx.BinaryFormatCode, pgtype.Float8OID: pgx.BinaryFormatCode,
	pgtype.DateOID: pgx.BinaryFormatCode, pgtype.TimestampOID: pgx.BinaryFormatCode, pgtype.TimestamptzOID: pgx.BinaryFormatCode,
}

// viewRows are rows of pgx as those of a driver.
type viewRows struct {
	rows    pgx.Rows
	convert []func(raw []byte) (driver.Value, error) // for each column
	more    bool                                     // the present row is still to be given out
}

func newViewRows(rows pgx.Rows, types *pgtype.Map, more bool) *viewRows {
	r := &viewRows{rows: rows, more: more}
	for _, field := range rows.FieldDescriptions() {
		r.convert = append(r.convert, converter(types, field))
	}

	return r
}

func (r *viewRows) Columns() []string {
	names := make([]string, 0, len(r.convert))
	for _, field := range r.rows.FieldDescriptions() {
		names = append(names, field.Name)
	}

	return names
}

func (r *viewRows) Close() error {
	r.rows.Close()

	return r.rows.Err()
}

func (r *viewRows) Next(row []driver.Value) error {
	if !r.more && !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}

		return io.EOF
	}
	r.more = false
	for i, raw := range r.rows.RawValues() {
		row[i] = nil
		if raw == nil {
			continue
		}
		var err error
		if row[i], err = r.convert[i](raw); err != nil {
			return fmt.Errorf("column %d: %w", i+1, err)
		}
	}

	return nil
}

// converter makes the values that pgx's package stdlib makes.
func converter(types *pgtype.Map, field pgconn.FieldDescription) func(raw []byte) (driver.Value, error) {
	switch field.DataTypeOID {
	case pgtype.BoolOID:
		return as(types, field, func(v bool) (driver.Value, error) { return v, nil })
	case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID:
		return as(types, field, func(v int64) (driver.Value, error) { return v, nil })
	case pgtype.OIDOID, pgtype.XIDOID, pgtype.CIDOID:
		return as(types, field, pgtype.Uint32.Value)
	case pgtype.Float4OID, pgtype.Float8OID:
		return as(types, field, func(v float64) (driver.Value, error) { return v, nil })
	case pgtype.ByteaOID:
		return as(types, field, func(v []byte) (driver.Value, error) { return v, nil })
	case pgtype.JSONOID, pgtype.JSONBOID, pgtype.XMLOID:
		return func(text []byte) (driver.Value, error) { return bytes.Clone(text), nil }
	case pgtype.DateOID:
		return as(types, field, pgtype.Date.Value)
	case pgtype.TimestampOID:
		return as(types, field, pgtype.Timestamp.Value)
	case pgtype.TimestamptzOID:
		return as(types, field, pgtype.Timestamptz.Value)
	default:
		return func(text []byte) (driver.Value, error) { return string(text), nil }
	}
}

// as reads a value as a type of Go's and makes one of database/sql's of it.
func as[T any](types *pgtype.Map, field pgconn.FieldDescription, value func(T) (driver.Value, error)) func(raw []byte) (driver.Value, error) {
	return func(raw []byte) (driver.Value, error) {
		var v T
		if err := types.Scan(field.DataTypeOID, field.Format, raw, &v); err != nil {
			return nil, err
		}

		return value(v)
	}
}

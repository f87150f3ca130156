package idemsql

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
)

// serverError is an error of a driver that is not pgx, and what package idem knows it by.
type serverError struct {
	error

	known *pgconn.PgError
}

func (e *serverError) Unwrap() []error { return []error{e.error, e.known} }

// explain finds the server's error in a driver's, so that package idem can judge it. lib/pq calls the fields of the
// server's message by Get, pgdriver by Field. Another driver that has nothing but the SQLSTATE leaves open whether the
// server closed the connection, and the outcome of a COMMIT that failed is then looked up.
func explain(err error) error {
	var (
		known   *pgconn.PgError
		fields  func(name byte) string
		pq      interface{ Get(name byte) string }
		bun     interface{ Field(name byte) string }
		another interface{ SQLState() string }
	)
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case errors.As(err, &pq):
		fields = pq.Get
	case errors.As(err, &bun):
		fields = bun.Field
	case errors.As(err, &another):
		return &serverError{err, &pgconn.PgError{Code: another.SQLState()}}
	default:
		return err
	}

	return &serverError{err, &pgconn.PgError{
		Code: fields('C'), Severity: fields('S'), SeverityUnlocalized: fields('V'), Message: fields('M'), Routine: fields('R'),
	}}
}

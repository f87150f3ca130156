package cli

import (
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// connectError is returned when no connection could be made.
type connectError struct {
	target target
	err    error
}

func (e *connectError) Error() string {
	// Every address may be tried twice, with TLS and without, to the same end.
	detail := strings.Join(slices.Compact(strings.Split(e.err.Error(), "\n")), "\n")
	if e.target.leaks(e.err) {
		detail = lines(
			"the reason is not shown because it may hold a part of the password",
			"In a URL write special characters of the password in percent form (@ as %40, / as %2F); in keyword=value put it in quotes.")
	}

	return lines("cannot connect to the database: "+detail, "The address comes from "+e.target.source+".")
}

func (e *connectError) Unwrap() error { return e.err }

// errorText is the text of err without anything that may be a password. A connection can be
// refused long after the first one was made, deep inside other errors.
func (a *app) errorText(err error) string {
	var known *connectError
	var connect *pgconn.ConnectError
	var parse *pgconn.ParseConfigError
	switch {
	case errors.As(err, &known):
		return err.Error()
	case errors.As(err, &parse), errors.As(err, &connect) && a.target.ambiguous():
		return "cannot connect to the database"
	default:
		return lines(err.Error(), remedy(err))
	}
}

// timeLimit says what to do where a limit of the server ended a statement.
func timeLimit(err error) string {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || pgErr.Code != "57014" || errors.Is(err, errTimeout) {
		return ""
	}

	return "A limit of time or somebody else ended the statement. PGOPTIONS='-c statement_timeout=0' in the environment lets it take as long as it needs."
}

// remedy says what to do where the server refuses the statements of the connection.
func remedy(err error) string {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return ""
	}
	switch pgErr.Code {
	case "42501":
		return lines("The role of the connection lacks a right. \"migrate up\", \"down\", \"to\" and \"status\", and \"consumer rename\", \"delete\", \"set-retention\",",
			"\"pause\" and \"resume\" need the role that owns the tables. For all else \"idemctl migrate print --grants ROLE\" prints the rights.")
	case "25006":
		return "The server takes no writes: it is a standby, or default_transaction_read_only is on. \"idemctl doctor\" says which, and what to do."
	case "26000", "42P05":
		return "A pooler shares the sessions. Add default_query_exec_mode=exec to the connection string, or connect to PostgreSQL itself."
	default:
		return ""
	}
}

// leaks reports whether the text of an error from connecting may hold a part of the password
// because the connection string was taken apart in another way than its author meant.
func (t target) leaks(err error) bool {
	var pgErr *pgconn.PgError
	unknownParameter := errors.As(err, &pgErr) && pgErr.Code == "42704"

	return t.ambiguous() || unknownParameter && !t.isURL()
}

func (t target) isURL() bool {
	return strings.HasPrefix(t.dsn, "postgres://") || strings.HasPrefix(t.dsn, "postgresql://")
}

// ambiguous reports whether an @ stands behind what pgx takes for user and password: then the
// password may have held an @ or a /, and its rest is taken for a host or a database.
func (t target) ambiguous() bool {
	if !t.isURL() {
		return false
	}
	_, rest, _ := strings.Cut(t.dsn, "://")
	if i := strings.IndexAny(rest, "@/"); i >= 0 && rest[i] == '@' {
		rest = rest[i+1:]
	}

	return strings.Contains(rest, "@")
}

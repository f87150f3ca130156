package idem

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

var (
	// errCommitUnanswered marks a COMMIT whose answer was lost.
	errCommitUnanswered = errors.New("no answer to COMMIT")

	// errConnectionLost marks a transaction whose connection was lost before its COMMIT.
	errConnectionLost = errors.New("the connection was lost in the transaction")

	// errCutShort marks a statement of the guard's own that a limit of time ended.
	errCutShort = errors.New("cancelled by a timeout or by somebody, perhaps while it waited for another transaction")

	// errMoved says that a COMMIT of unknown outcome took effect after all: the checkpoint is known anew.
	errMoved = errors.New("the checkpoint was moved by an earlier call")

	// errNoStatements says that prepared statements were lost twice in a row.
	errNoStatements = errors.New("prepared statements were lost twice in a row, most likely because a pooler shares the sessions: " +
		"set default_query_exec_mode=exec (or simple_protocol) in the connection string, or max_prepared_statements in PgBouncer")

	// errReadOnly marks a statement of the guard's own on a server that takes no writes.
	errReadOnly = errors.New("the server refuses writes")
)

// Transient wraps an error of a handler that is not the event's fault and will pass, such as another
// service's outage. IsTransient reports true for it, so it is retried like an error of the
// infrastructure. It returns nil for nil.
func Transient(err error) error {
	if err == nil {
		return nil
	}

	return &transientError{err}
}

type transientError struct{ error }

func (e *transientError) Unwrap() error { return e.error }

// IsTransient reports whether err comes from the infrastructure and another try may succeed. The
// guard retries such errors by its RetryPolicy; if the call still fails with one, retry it later.
// Errors of the server are judged by SQLSTATE:
//
//   - Transient are connections that are refused or lost (08), serialization failures (40001), deadlocks
//     (40P01), a server short of resources (53), and one that shuts down, starts up or closed an idle
//     session (57P0). So is a cached plan that a change of a table made invalid (0A000 from the plan
//     cache): the next try prepares the statement again. So are prepared statements that the session no
//     longer has (26000) or already has (42P05), after a DEALLOCATE ALL for instance: the next try has
//     another connection. If that fails in the same way, a pooler is in between: the error is not
//     transient and says what to set.
//   - A timeout that ends a claim is transient, because usually another transaction holds the
//     event: lock_timeout (55P03), statement_timeout and a cancelled query (57014). In a handler
//     these errors are not transient: a handler may set such limits itself, and wants to see the
//     errors.
//   - idle_in_transaction_session_timeout (25P03) and transaction_timeout (25P04) are not: a
//     handler that took too long will do so again. If they end the transaction after the handler
//     has returned and before the COMMIT, the error is a HandlerError too.
//   - A server that refuses writes (25006), such as a standby after a failover, is transient for
//     the guard's own statements. The guard closes the connection, so that the next one may lead to
//     the new primary. A handler's own attempt to write in a read-only transaction is not
//     transient.
//   - All other errors are not: permissions, constraints, wrong SQL.
//
// A HandlerError is transient by the same SQLSTATEs, whichever database they came from. Without a
// SQLSTATE it is transient only if the connection of the handler's transaction is lost: errors of
// other systems count as the handler's, unless it wraps them (Transient).
func IsTransient(err error) bool {
	if transient, known := verdict(err); known {
		return transient
	}
	var connect *pgconn.ConnectError

	return errors.As(err, &connect) || connectionLost(err)
}

// verdict judges what says by itself whether it is transient; known is false for the rest.
func verdict(err error) (transient, known bool) {
	var (
		handler *HandlerError
		marked  *transientError
		pgErr   *pgconn.PgError
	)
	switch {
	case errors.Is(err, errNoStatements):
		return false, true
	case errors.As(err, &handler):
		return handler.transient, true
	case errors.As(err, &marked):
		return true, true
	case errors.Is(err, ErrOutcomeUnknown), errors.Is(err, errCommitUnanswered), errors.Is(err, errConnectionLost),
		errors.Is(err, errCutShort), errors.Is(err, errMoved), errors.Is(err, errReadOnly):
		return true, true
	case errors.As(err, &pgErr):
		return transientSQL(pgErr), true
	default:
		return false, false
	}
}

// transientSQL judges by SQLSTATE, the only part of a server's error that is the same in all
// languages. If that is not enough, it judges by the name of the server's function.
func transientSQL(err *pgconn.PgError) bool {
	switch err.Code {
	case "40001", // serialization_failure
		"40P01": // deadlock_detected
		return true
	case "0A000": // feature_not_supported
		return err.Routine == "RevalidateCachedQuery"
	case "26000", // invalid_sql_statement_name
		"42P05": // duplicate_prepared_statement
		return statementsLost(err)
	}

	return strings.HasPrefix(err.Code, "08") || // connection exceptions
		strings.HasPrefix(err.Code, "53") || // insufficient resources
		strings.HasPrefix(err.Code, "57P0") // the server is shutting down, crashed or starting
}

// statementsLost reports whether the session lacks the prepared statements that pgx thinks it has.
// The names of the server's functions distinguish that from errors that user code has raised.
func statementsLost(err error) bool {
	if err == nil { // errors.As would allocate, and most calls succeed.
		return false
	}
	var pgErr *pgconn.PgError

	return errors.As(err, &pgErr) && (pgErr.Code == "26000" && (pgErr.Routine == "FetchPreparedStatement" || pgErr.Routine == "exec_bind_message") ||
		pgErr.Code == "42P05" && pgErr.Routine == "StorePreparedStatement")
}

// connectionLost reports whether err says that the connection to the server is gone, other
// than by the end of a context.
func connectionLost(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var network net.Error

	return pgconn.SafeToRetry(err) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, driver.ErrBadConn) || errors.As(err, &network)
}

// commitRefused reports whether err, from a COMMIT, proves that nothing was committed: only an
// answer of the server's does. pgconn.SafeToRetry does not: pgx 5.12 calls an error safe too
// that comes of reading the answer from a connection that broke meanwhile.
//
// A server that ends the connection (FATAL) may have committed before: while it waits for a
// standby, for instance. So may a server behind a pooler that reports an error in its own name.
func commitRefused(err error) bool {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return false
	}
	severity := pgErr.SeverityUnlocalized
	if severity == "" {
		severity = pgErr.Severity
	}
	for _, class := range []string{"08", "40003", "57P", "58"} {
		if strings.HasPrefix(pgErr.Code, class) {
			return false
		}
	}

	return severity == "ERROR"
}

// tookTooLong reports whether the server ended the transaction because of its age.
func tookTooLong(err error) bool {
	var pgErr *pgconn.PgError

	return errors.As(err, &pgErr) && (pgErr.Code == "25P03" || pgErr.Code == "25P04")
}

// explain adds to an error of a statement of the guard's own what it means there.
func explain(err error) error {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return err
	}
	switch pgErr.Code {
	case "42P01", "42883", "3F000":
		return fmt.Errorf("%w: %w", ErrNotMigrated, err)
	case "55P03", "57014":
		return fmt.Errorf("%w: %w", errCutShort, err)
	case "25006":
		return fmt.Errorf("%w: %w", errReadOnly, err)
	default:
		return err
	}
}

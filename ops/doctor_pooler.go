package ops

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	protocolViolation    = "08P01"
	noPreparedStatement  = "26000"
	hasPreparedStatement = "42P05"

	// poolerRounds is how often two clients compare their sessions. Others may use them in between.
	poolerRounds = 8
)

// errStatementMode is that of a pooler that allows no transactions.
var errStatementMode = errors.New("no transactions")

// findPooler finds out by two connections what stands between this machine and the server. A pooler makes up
// the process that it tells when a client connects. In transaction mode a client has another session after
// another client has taken its own, and in statement mode it can begin no transaction.
func (d *doctor) findPooler(ctx context.Context) error {
	var clients [2]*pgx.Conn
	for i := range clients {
		conn, err := pgx.ConnectConfig(ctx, d.pool.Config().ConnConfig)
		if err != nil {
			return err
		}
		defer conn.Close(ctx) //nolint:errcheck // Nothing is pending on it.
		clients[i] = conn
	}
	p := &pooler{first: clients[0], second: clients[1]}
	shared, err := p.shares(ctx)
	if errors.Is(err, errStatementMode) {
		d.add("pooler-mode", SeverityProblem, "connection", "a pooler in statement mode is in between: it allows no transactions",
			"Set pool_mode = transaction in the pooler's configuration, or connect to PostgreSQL itself.")

		return nil
	}
	if err != nil {
		return err
	}
	switch {
	case shared:
		d.ok("pooler-mode", "connection", "a pooler in transaction mode is in between; for migrations connect to PostgreSQL itself")
	case p.madeUp:
		d.ok("pooler-mode", "connection", "a pooler in session mode is in between, as far as two connections can tell")
	default:
		d.ok("pooler-mode", "connection", "it leads to PostgreSQL itself")
	}
	if !shared || slices.Contains([]pgx.QueryExecMode{pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol}, d.mode) {
		return nil
	}

	return d.findPrepared(ctx, p)
}

func (d *doctor) findPrepared(ctx context.Context, p *pooler) error {
	lost, err := p.losesPrepared(ctx)
	if err == nil && lost {
		d.add("prepared-statements", SeverityProblem, "connection", fmt.Sprintf("the pooler loses prepared statements, and pgx's mode is %q", modeName(d.mode)),
			"Add default_query_exec_mode=exec to the services' connection string, or set max_prepared_statements = 200 in PgBouncer 1.21 or newer.")
	}

	return err
}

// modeName is the name of a mode in connection strings.
func modeName(mode pgx.QueryExecMode) string { return strings.ReplaceAll(mode.String(), " ", "_") }

// pooler is what two clients see of what is between them and the server.
type pooler struct {
	first, second *pgx.Conn
	madeUp        bool // the server does not know the process that was told when the first connected
}

// shares reports whether the clients share sessions.
func (p *pooler) shares(ctx context.Context) (bool, error) {
	for range poolerRounds {
		own, err := p.session(ctx, p.first)
		if err != nil {
			return false, err
		}
		p.madeUp = p.madeUp || own != p.first.PgConn().PID()
		other, err := p.hold(ctx)
		if err != nil {
			return false, err
		}
		again, err := p.session(ctx, p.first)
		if err == nil {
			err = run(ctx, p.second, "ROLLBACK")
		}
		if err != nil || other == own || again != own {
			return err == nil, err
		}
	}

	return false, nil
}

// losesPrepared reports whether a client loses what it has prepared when it gets another session.
func (p *pooler) losesPrepared(ctx context.Context) (lost bool, err error) {
	for range poolerRounds {
		statement := "idem_doctor_" + strings.ReplaceAll(uuid.NewString(), "-", "")
		if err := run(ctx, p.first, "BEGIN"); err != nil {
			return false, err
		}
		own, err := session(ctx, p.first)
		if err == nil {
			_, err = p.first.PgConn().Prepare(ctx, statement, "SELECT pg_catalog.pg_backend_pid()", nil)
		}
		if err == nil {
			err = run(ctx, p.first, "COMMIT")
		}
		if err != nil {
			return false, err
		}
		other, err := p.hold(ctx)
		if err != nil {
			return false, err
		}
		if other == own { // So the first client gets another session now.
			result := p.first.PgConn().ExecPrepared(ctx, statement, nil, nil, nil).Read()
			lost = isCode(result.Err, noPreparedStatement, hasPreparedStatement)
			if result.Err != nil && !lost {
				return false, result.Err
			}
			// Nothing is left behind in the session; a pooler that keeps statements knows it by another name.
			if err := run(ctx, p.second, "DEALLOCATE "+statement); err != nil && !isCode(err, noPreparedStatement) {
				return false, err
			}
		}
		if err := run(ctx, p.second, "ROLLBACK"); err != nil || other == own {
			return lost, err
		}
	}

	return false, invalid("other clients took the sessions each time")
}

// session is the server's process that serves a client in a transaction.
func (p *pooler) session(ctx context.Context, conn *pgx.Conn) (uint32, error) {
	if err := begin(ctx, conn); err != nil {
		return 0, err
	}
	pid, err := session(ctx, conn)
	if err == nil {
		err = run(ctx, conn, "COMMIT")
	}

	return pid, err
}

// hold begins a transaction of the second client, and returns the process that serves it.
func (p *pooler) hold(ctx context.Context) (uint32, error) {
	if err := begin(ctx, p.second); err != nil {
		return 0, err
	}

	return session(ctx, p.second)
}

func begin(ctx context.Context, conn *pgx.Conn) error {
	err := run(ctx, conn, "BEGIN")
	if isCode(err, protocolViolation) {
		return errStatementMode
	}

	return err
}

// run executes SQL that returns nothing, without preparing it.
func run(ctx context.Context, conn *pgx.Conn, sql string) error {
	_, err := conn.PgConn().Exec(ctx, sql).ReadAll()

	return err
}

func session(ctx context.Context, conn *pgx.Conn) (uint32, error) {
	results, err := conn.PgConn().Exec(ctx, "SELECT pg_catalog.pg_backend_pid()").ReadAll()
	if err != nil {
		return 0, err
	}
	pid, err := strconv.ParseUint(string(results[0].Rows[0][0]), 10, 32)

	return uint32(pid), err
}

func isCode(err error, codes ...string) bool {
	var pgErr *pgconn.PgError

	return errors.As(err, &pgErr) && slices.Contains(codes, pgErr.Code)
}

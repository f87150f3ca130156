package pgtest

import (
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestPgBouncer(t *testing.T) {
	t.Parallel()
	db := NewDB(t)
	bouncer, err := StartPgBouncer(t, db)
	if errors.Is(err, ErrNoPgBouncer) {
		t.Log(err)

		return
	}
	if err != nil {
		t.Fatal(err)
	}

	modes := []pgx.QueryExecMode{pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol}
	if bouncer.PreparedStatements {
		modes = append(modes, pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe)
	}
	for _, mode := range modes {
		pool := db.OwnerPool(t, Via(bouncer.Addr), ExecMode(mode))
		if n := count(t, pool, "SELECT pg_catalog.count(*) FROM idem.consumers WHERE name OPERATOR(pg_catalog.<>) $1", "a"); n != 0 {
			t.Errorf("%v: %d rows in a fresh database", mode, n)
		}
		if n := count(t, pool, "SELECT pg_catalog.array_position(pg_catalog.current_schemas(true), 'public')"); n != 1 {
			t.Errorf("%v: the search_path is not that of Hostile", mode)
		}
	}

	// In transaction mode clients share the connections to the server.
	first, second := db.OwnerPool(t, Via(bouncer.Addr), ExecMode(pgx.QueryExecModeExec)), db.OwnerPool(t, Via(bouncer.Addr), ExecMode(pgx.QueryExecModeExec))
	const pid = "SELECT pg_catalog.pg_backend_pid()"
	if a, b := count(t, first, pid), count(t, second, pid); a != b {
		t.Errorf("two clients have connections of their own (%d, %d)", a, b)
	}
}

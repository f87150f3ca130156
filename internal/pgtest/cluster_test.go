package pgtest

import (
	"errors"
	"strings"
	"testing"
)

// open opens a cluster as another test process does that shares the server.
func open(t *testing.T) *cluster {
	t.Helper()
	c, err := newCluster(t.Context(), mustOpen(t).dsn)
	if err != nil {
		t.Fatal(err)
	}

	return c
}

func (c *cluster) has(t *testing.T, database string) bool {
	t.Helper()
	names, err := c.databaseNames(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}

	return len(names) > 0
}

func TestClustersClean(t *testing.T) {
	t.Parallel()
	admin := mustOpen(t)

	closed := open(t)
	closedDB, err := closed.template()
	if err != nil {
		t.Fatal(err)
	}
	killed := open(t)
	killedDB, err := killed.template()
	if err != nil {
		t.Fatal(err)
	}
	alive := open(t)
	aliveDB, err := alive.template()
	if err != nil {
		t.Fatal(err)
	}

	if err := closed.close(); err != nil {
		t.Error(err)
	}
	if admin.has(t, closedDB) {
		t.Error("close left a database behind")
	}

	// A killed process loses its connections and cleans nothing up.
	killed.admin.Close()
	if _, err := admin.admin.Exec(t.Context(), "SELECT pg_terminate_backend($1, 10000)", killed.alive.PgConn().PID()); err != nil {
		t.Fatal(err)
	}
	if !admin.has(t, killedDB) {
		t.Fatal("nothing is left to sweep")
	}
	if err := open(t).close(); err != nil {
		t.Error(err)
	}
	if admin.has(t, killedDB) {
		t.Error("the database of a killed process is still there")
	}
	if !admin.has(t, aliveDB) {
		t.Error("the database of a live process is gone")
	}
	if err := alive.close(); err != nil {
		t.Error(err)
	}
}

func TestUnreachableServerFails(t *testing.T) {
	t.Parallel()
	_, err := newCluster(t.Context(), "postgres://u:secret@127.0.0.1:1/x?sslmode=disable")
	if !errors.Is(err, errNoServer) || strings.Contains(err.Error(), "secret") {
		t.Errorf("error = %v, want errNoServer without the password", err)
	}
}

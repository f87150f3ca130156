package pgtest

import (
	"errors"
	"slices"
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

// has reports whether a database or a role is there.
func (c *cluster) has(t *testing.T, name string) bool {
	t.Helper()
	found, err := c.leftovers(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}

	return slices.ContainsFunc(found, func(left leftover) bool { return left.Name == name })
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
	if admin.has(t, closedDB) || admin.has(t, closed.role()) {
		t.Error("close left a database or its role behind")
	}

	// A killed process loses its connections and cleans nothing up.
	killed.admin.Close()
	if _, err := admin.admin.Exec(t.Context(), "SELECT pg_terminate_backend($1, 10000)", killed.alive.PgConn().PID()); err != nil {
		t.Fatal(err)
	}
	if !admin.has(t, killedDB) || !admin.has(t, killed.role()) {
		t.Fatal("nothing is left to sweep")
	}
	if err := open(t).close(); err != nil {
		t.Error(err)
	}
	if admin.has(t, killedDB) || admin.has(t, killed.role()) {
		t.Error("the database or the role of a killed process is still there")
	}
	if !admin.has(t, aliveDB) || !admin.has(t, alive.role()) {
		t.Error("the database or the role of a live process is gone")
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

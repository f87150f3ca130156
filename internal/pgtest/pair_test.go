package pgtest

import (
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
)

func land(t *testing.T, pool *pgxpool.Pool, n int) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), insertRow, n); err != nil {
		t.Fatal(err)
	}
}

// checkLost checks that row 1 is lost and that rows can land again.
func checkLost(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	pool.Reset()
	land(t, pool, 2)
	if landed(t, pool, 1) || !landed(t, pool, 2) {
		t.Errorf("old row there: %t, new row there: %t", landed(t, pool, 1), landed(t, pool, 2))
	}
}

// The guard's tables are on both servers, and the one pool of a service reaches the primary
// before and after a failover.
func TestPair(t *testing.T) {
	t.Parallel()
	pair := NewPair(t)
	pool := pair.DB.Pool(t)
	mustExec(t, pool, "CREATE TABLE public.landed (n integer)")
	if err := pair.Cut(t.Context()); err != nil {
		t.Fatal(err)
	}
	land(t, pool, 1)
	if n := count(t, pair.StandbyDB.Pool(t), "SELECT count(*) FROM idem.consumers"); n != 0 {
		t.Errorf("%d consumers on the standby", n)
	}
	if err := pair.Failover(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkLost(t, pool)
}

func TestForgetful(t *testing.T) {
	t.Parallel()
	server, db := NewForgetful(t)
	pool := db.Pool(t)
	mustExec(t, pool, "CREATE TABLE public.landed (n integer)")
	if err := server.HoldWAL(t.Context()); err != nil {
		t.Fatal(err)
	}
	land(t, pool, 1)
	if err := server.LoseWAL(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkLost(t, pool)
}

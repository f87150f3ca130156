package main

import (
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestDepositsOnce(t *testing.T) {
	t.Parallel()
	pool := pgtest.NewDB(t).Pool(t)
	if err := run(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	if got := deposited(t, pool); got != 2_000 {
		t.Errorf("deposited %d, want two deposits of 1,000", got)
	}
}

func TestUnansweredCommit(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDB(t)
	direct := db.Pool(t)
	if err := run(t.Context(), direct); err != nil {
		t.Fatal(err)
	}
	proxy := pgtest.NewProxy(t, db)
	pool := db.Pool(t, pgtest.Via(proxy.Addr()))
	guard, err := idem.New(pool, idem.Config{Consumer: "deposits"})
	if err != nil {
		t.Fatal(err)
	}
	if err := guard.Register(t.Context()); err != nil {
		t.Fatal(err)
	}

	done := proxy.CutNextCommit(pgtest.DropAfterCommit)
	outcome, err := deposit(t.Context(), pool, guard, "landed", "alice", 1)
	<-done
	if outcome != idem.Processed || err != nil {
		t.Errorf("the COMMIT landed: %v, %v, want processed", outcome, err)
	}

	done = proxy.CutNextCommit(pgtest.DropBeforeCommit)
	outcome, err = deposit(t.Context(), pool, guard, "did not land", "alice", 1)
	<-done
	if outcome != 0 || err == nil {
		t.Errorf("the COMMIT did not land: %v, %v, want an error", outcome, err)
	}
	if got := deposited(t, direct); got != 2_001 {
		t.Errorf("deposited %d, want 2,001", got)
	}
}

func deposited(t *testing.T, pool *pgxpool.Pool) (cents int64) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), `SELECT sum(cents)::bigint FROM public.deposits`).Scan(&cents); err != nil {
		t.Fatal(err)
	}

	return cents
}

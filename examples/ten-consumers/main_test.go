package main

import (
	"testing"

	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestEachEventRunsOnce(t *testing.T) {
	t.Parallel()
	pool := pgtest.NewDB(t).Pool(t, pgtest.MaxConns(consumers))
	if err := run(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	var runs, distinct int
	err := pool.QueryRow(t.Context(), `SELECT count(*), count(DISTINCT event_id) FROM public.runs`).Scan(&runs, &distinct)
	if err != nil {
		t.Fatal(err)
	}
	if runs != events || distinct != events {
		t.Errorf("%d runs of %d events, want %d of each", runs, distinct, events)
	}
}

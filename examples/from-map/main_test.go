package main

import (
	"testing"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestMapIsTakenOver(t *testing.T) {
	t.Parallel()
	pool := pgtest.NewDB(t).Pool(t)
	if err := run(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	guard, err := idem.New(pool, idem.Config{Consumer: "orders"})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"order-1", "order-2", "order-3", "order-4"} {
		if processed, err := guard.IsProcessed(t.Context(), id); !processed || err != nil {
			t.Errorf("%s: processed = %v, %v", id, processed, err)
		}
	}
}

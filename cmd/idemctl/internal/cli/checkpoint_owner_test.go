package cli

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
)

// guard is the guard of a service that runs beside the program.
func (b *bundle) guard(t *testing.T, consumer string) *idem.Guard {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), b.db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	guard, err := idem.New(pool, idem.Config{Consumer: consumer})
	if err != nil {
		t.Fatal(err)
	}

	return guard
}

func TestResetFencesTheOwner(t *testing.T) {
	t.Parallel()
	b := setup(t)
	guard := b.guard(t, "payments")
	partition := idem.Partition{Topic: "orders", Number: 3, TopicID: uuid.New()}
	acquire := func() *idem.Owner {
		mark, err := guard.Acquire(t.Context(), partition, idem.AcquireOptions{Patience: time.Minute})
		if err != nil {
			t.Fatal(err)
		}

		return mark
	}
	owner := acquire()
	if err := owner.Advance(t.Context(), 500); err != nil {
		t.Fatal(err)
	}
	contains(t, b.ok(t, "checkpoint", "reset", "-c", "payments", "-t", "orders", "-p", "3", "--to", "100", "-y"), "500    100")
	if err := owner.Advance(t.Context(), 501); !errors.Is(err, idem.ErrFenced) {
		t.Errorf("the owner was not fenced: %v", err)
	}
	partition.TopicID = uuid.New()
	if next := acquire(); next.Next() != 100 || next.Recreated() {
		t.Errorf("the next owner begins at %d, recreated: %t", next.Next(), next.Recreated())
	}
}

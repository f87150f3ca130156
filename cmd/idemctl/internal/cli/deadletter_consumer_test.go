package cli

import (
	"context"
	"errors"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
)

// What the commands do is what the guard of a running consumer goes by.
func TestReplayAndDiscardReachTheConsumer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	guard := b.guard(t, "payments")
	owner := guard.Unfenced(idem.Partition{Topic: "orders", Number: 3})
	for i, state := range []idem.DeadLetterState{idem.DeadLetterOpen, idem.DeadLetterParked} {
		letter := idem.DeadLetter{ID: uuid.MustParse(nth(int64(i + 1))), State: state, Offset: int64(i), Key: []byte("k"), EventID: "e" + decimal(int64(i)), Error: "refused"}
		if _, err := owner.StoreDeadLetter(t.Context(), letter); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := owner.NextDeadLetter(t.Context()); !errors.Is(err, idem.ErrNotFound) {
		t.Fatal(err)
	}
	next := func(offset int64) idem.DeadLetter {
		letter, err := owner.NextDeadLetter(t.Context())
		if err != nil || letter.Offset != offset {
			t.Fatalf("%+v, %v", letter, err)
		}

		return letter
	}
	process := func(letter idem.DeadLetter, want idem.Outcome) {
		outcome, err := owner.Replay(t.Context(), letter, func(context.Context, pgx.Tx) error { return nil })
		if err != nil || outcome != want {
			t.Errorf("%v, %v; want %v", outcome, err, want)
		}
	}
	b.ok(t, "dlq", "replay", nth(1))
	first := next(0)
	// Discarded between the reading and the processing: it is not processed.
	b.run(t, "dlq", "discard", nth(1)).want(t, exitUnconfirmed, "1 parked dead letter of the same keys waited for that")
	b.ok(t, "dlq", "discard", nth(1), "-y")
	process(first, idem.AlreadyProcessed)
	process(next(1), idem.Processed)
	if got := b.states(t); got != "discarded replayed" {
		t.Error(got)
	}
}

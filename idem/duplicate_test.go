package idem_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
)

// kinds processes records, one by one or as batches of one, and says what they are.
type kinds struct {
	*bundle

	batch bool
	hook  idem.DuplicateKind // what the hooks say
}

func newKinds(t *testing.T, batch bool) *kinds {
	t.Helper()
	k := &kinds{bundle: setup(t), batch: batch}
	k.guard = newGuard(t, k.pool, idem.Config{Consumer: "orders", Hooks: idem.Hooks{
		Process: idem.Hook[idem.Op, idem.ProcessEnd]{End: func(_ context.Context, _ idem.Op, end idem.ProcessEnd) { k.hook = end.Duplicate }},
		Batch:   idem.Hook[idem.Op, idem.BatchEnd]{End: func(_ context.Context, _ idem.Op, end idem.BatchEnd) { k.hook = end.Results[0].Duplicate }},
	}})

	return k
}

// of returns the outcome, and the kind of a duplicate.
func (k *kinds) of(t *testing.T, o *idem.Owner, e idem.Event) string {
	t.Helper()
	kind := idem.DuplicateFormerOwner // It must be set in any case.
	var (
		outcome idem.Outcome
		err     error
	)
	if k.batch {
		var results []idem.BatchResult
		results, err = o.ProcessBatch(t.Context(), []idem.Event{e}, func(context.Context, pgx.Tx, []idem.Event) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		outcome, err, kind = results[0].Outcome, results[0].Err, results[0].Duplicate
	} else {
		outcome, err = o.Process(t.Context(), e, func(context.Context, pgx.Tx) error { return nil }, idem.WithDuplicate(&kind))
	}
	if k.hook != kind {
		t.Errorf("the hook says %v, the call %v", k.hook, kind)
	}
	switch {
	case errors.As(err, new(*idem.CollisionError)), err == nil && outcome == idem.AlreadyProcessed:
		return kind.String()
	case err != nil:
		t.Fatal(err)
	case kind != idem.DuplicateUnknown:
		t.Errorf("%v of what was processed", kind)
	}

	return "new"
}

// value is a record without a stored place, placed one with it.
func value(id string, offset int64, payload string) idem.Event {
	return idem.Event{ID: id, Offset: offset, Fingerprint: idem.FingerprintOf([]byte(payload))}
}

func placed(id string, offset int64) idem.Event {
	e := value(id, offset, "v")
	e.Metadata = &idem.Metadata{Topic: partition.Topic, Partition: partition.Number, Offset: offset}

	return e
}

func TestKindsOfDuplicates(t *testing.T) {
	t.Parallel()
	for _, batch := range []bool{false, true} {
		t.Run(fmt.Sprint("batch ", batch), func(t *testing.T) {
			t.Parallel()
			k := newKinds(t, batch)
			check := func(what string, o *idem.Owner, e idem.Event, want string) {
				t.Helper()
				if got := k.of(t, o, e); got != want {
					t.Errorf("%s: %q, want %q", what, got, want)
				}
			}
			first := acquire(t, k.guard)
			check("the first one", first, value("a", 0, "v"), "new")
			check("before the checkpoint", first, value("a", 0, "v"), "redelivered")
			check("at another place", first, value("a", 1, "v"), "produced again")
			check("with another value", first, value("a", 2, "w"), "collision")
			check("without a fingerprint", first, idem.Event{ID: "a", Offset: 2}, "unknown")

			second := acquire(t, k.guard)
			check("a new one", second, value("b", 3, "v"), "new")
			check("claimed since", second, value("b", 4, "v"), "produced again")
			check("claimed before the owner had the partition", second, value("a", 5, "v"), "unknown")
			check("one with its place", second, placed("c", 6), "new")
			if err := second.Reset(t.Context(), 3); err != nil {
				t.Fatal(err)
			}
			check("read again", second, value("b", 3, "v"), "unknown")
			check("read again, with its place", second, placed("c", 6), "redelivered")
			check("at another place than the stored one", second, placed("c", 7), "produced again")

			former, latter := k.guard.Unfenced(partition), k.guard.Unfenced(partition)
			check("another new one", former, placed("d", 0), "new")
			check("read again by another member", latter, placed("d", 0), "redelivered")
			check("at another place", latter, placed("d", 1), "produced again")
			check("by the former owner", former, placed("e", 1), "new")
			check("which is late", latter, placed("e", 1), "former owner")
			check("without a place", former, value("f", 2, "v"), "new")
			check("of which nobody knows", latter, value("f", 2, "v"), "unknown")
		})
	}
}

func TestKindsWithinABatch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	events := []idem.Event{{ID: "a", Offset: 0}, {ID: "b", Offset: 1}, {ID: "a", Offset: 2}}
	nothing := func(context.Context, pgx.Tx, []idem.Event) error { return nil }
	results, err := acquire(t, b.guard).ProcessBatch(t.Context(), events, nothing)
	if err != nil || results[2] != (idem.BatchResult{Outcome: idem.AlreadyProcessed, Duplicate: idem.DuplicateProducedAgain}) {
		t.Errorf("%+v, %v", results, err)
	}
	results, err = b.guard.ProcessBatch(t.Context(), events, nothing) // It has no places.
	if err != nil || results[2] != (idem.BatchResult{Outcome: idem.AlreadyProcessed}) {
		t.Errorf("%+v, %v", results, err)
	}
}

// Somebody has written into the tables what is no place and no time.
func TestKindsOfStrangeClaims(t *testing.T) {
	t.Parallel()
	k := newKinds(t, false)
	o := acquire(t, k.guard)
	if got := k.of(t, o, placed("a", 0)); got != "new" {
		t.Fatal(got)
	}
	for _, claim := range []struct{ metadata, processedAt, want string }{
		{`{"topic": {"a": 1}, "partition": 1e400, "offset": null}`, "now", "produced again"},
		{`[]`, "-infinity", "unknown"},
		{`"text"`, "infinity", "produced again"},
	} {
		k.exec(t, `UPDATE idem.processed_events SET metadata = $1::jsonb, processed_at = $2::text::timestamptz`, claim.metadata, claim.processedAt)
		if got := k.of(t, o, value("a", 1, "v")); got != claim.want {
			t.Errorf("%+v: %q", claim, got)
		}
	}
}

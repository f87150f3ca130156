package ops_test

import (
	"testing"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/ops"
)

// Whoever plans changes nothing, and who acts later does what is left of the plan.
func TestPlansMeetWhatOthersHaveDone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.store(t, 3)
	replay, err := b.client.PlanReplay(t.Context(), ops.DeadLetterChoice{All: true})
	if err != nil || len(replay.DeadLetters) != 1 {
		t.Fatal(replay, err)
	}
	id := replay.DeadLetters[0].ID.String()
	discard, err := b.client.PlanDiscard(t.Context(), ops.DeadLetterChoice{IDs: []string{id, "ffff"}})
	if err != nil || len(discard.DeadLetters) != 1 || discard.Released != 2 {
		t.Fatal(discard, err)
	}
	wantErr(t, "an id that no dead letter has", discard.Err(), ops.ErrUnknownDeadLetter)
	if got := b.states(t); got != "open,parked,parked" {
		t.Fatalf("a plan changed something: %s", got)
	}
	if done, err := b.client.DiscardDeadLetters(t.Context(), discard, nil); err != nil || done.Changed != 1 || len(done.Unknown) != 1 || !done.Complete {
		t.Error(done, err)
	}
	done, err := b.client.ReplayDeadLetters(t.Context(), replay, nil)
	if err != nil || done.Changed != 0 || !done.Complete || len(done.Unchanged) != 1 || done.Unchanged[0].State != idem.DeadLetterDiscarded {
		t.Error(done, err)
	}
	if got := b.states(t); got != "discarded,replay,parked" {
		t.Error(got)
	}
}

// Nobody chooses all dead letters by a filter that is empty because a variable was not set.
func TestNothingIsChosenByNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.store(t, 1)
	for what, choice := range map[string]ops.DeadLetterChoice{
		"nothing":              {},
		"a limit alone":        {Filter: ops.DeadLetterFilter{Limit: 10}},
		"ids and a filter":     {IDs: []string{"0199c2a4"}, Filter: ops.DeadLetterFilter{Topic: "orders"}},
		"ids and all":          {IDs: []string{"0199c2a4"}, All: true},
		"a short id":           {IDs: []string{"019"}},
		"no id":                {IDs: []string{"orders"}},
		"a negative limit":     {All: true, Filter: ops.DeadLetterFilter{Limit: -1}},
		"a negative age":       {Filter: ops.DeadLetterFilter{MaxAge: -1}},
		"a topic with NUL":     {Filter: ops.DeadLetterFilter{Topic: "a\x00"}},
		"an unknown state":     {Filter: ops.DeadLetterFilter{States: []idem.DeadLetterState{"closed"}}},
		"what is not replayed": {Filter: ops.DeadLetterFilter{States: []idem.DeadLetterState{idem.DeadLetterDiscarded}}},
	} {
		plan, err := b.client.PlanReplay(t.Context(), choice)
		if wantErr(t, what, err, ops.ErrInvalid); len(plan.DeadLetters) > 0 {
			t.Errorf("%s chooses %v", what, plan.DeadLetters)
		}
	}
}

// Errors that differ in their numbers alone are of one shape, which chooses them all, and no others.
func TestDeadLettersAreGroupedByTheShapesOfTheirErrors(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i, text := range []string{
		"order 4711: no stock\nat line 3", "order 12: no stock", "customer 0199c2a4-1234-7abc-8def-0123456789ab is unknown", "order: no stock",
	} {
		_, err := b.guard.Unfenced(partition).StoreDeadLetter(t.Context(), idem.DeadLetter{
			State: idem.DeadLetterOpen, Partition: partition, Offset: int64(i), EventID: text, Error: text,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	b.exec(t, `UPDATE idem.dead_letters SET failed_at = TIMESTAMPTZ '2026-01-01 00:00:00+00' + (record_offset OPERATOR(pg_catalog.*) INTERVAL '1 hour')`)
	b.exec(t, `UPDATE idem.dead_letters SET state = 'replay' WHERE record_offset OPERATOR(pg_catalog.=) 1`)

	groups, total, err := b.client.DeadLetterGroups(t.Context(), ops.DeadLetterFilter{Limit: 2})
	if err != nil || total != 4 || len(groups) != 2 || groups[0].ErrorShape != "order #: no stock" || groups[0].DeadLetters != 2 || groups[0].Open != 1 ||
		groups[1].ErrorShape != "customer # is unknown" {
		t.Fatal(groups, total, err)
	}
	filter := ops.DeadLetterFilter{Consumer: "orders", ErrorShape: groups[0].ErrorShape}
	plan, err := b.client.PlanDiscard(t.Context(), ops.DeadLetterChoice{Filter: filter})
	if err != nil || len(plan.DeadLetters) != 2 || plan.DeadLetters[0].Offset != 0 || plan.DeadLetters[1].Offset != 1 {
		t.Error(plan, err)
	}
	filter.Until = *groups[0].LastFailed
	if plan, err = b.client.PlanDiscard(t.Context(), ops.DeadLetterChoice{Filter: filter}); err != nil || len(plan.DeadLetters) != 1 {
		t.Error(plan, err)
	}
	if _, total, err = b.client.DeadLetterGroups(t.Context(), filter); err != nil || total != 1 {
		t.Error(total, err)
	}

	counts, err := b.client.DeadLetterCounts(t.Context())
	if want := (ops.DeadLetterCount{Consumer: "orders", Open: 3, Unresolved: 4}); err != nil || len(counts) != 1 || counts[0] != want {
		t.Error(counts, err)
	}
}

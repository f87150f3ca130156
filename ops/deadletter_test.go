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

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

// What somebody else has had replayed since a plan was made, or what has failed anew, is none of it: nobody has decided about that.
func TestDeadLettersThatHaveChangedSinceThePlan(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]struct{ sql, state string }{
		"somebody has it replayed": {`UPDATE idem.dead_letters SET state = 'replay'`, "replay"},
		"it has failed anew":       {`UPDATE idem.dead_letters SET failed_at = clock_timestamp()`, "open"},
		"its time is infinite now": {`UPDATE idem.dead_letters SET failed_at = 'infinity'`, "open"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.store(t, 1)
			all := ops.DeadLetterChoice{All: true}
			discard, err := b.client.PlanDiscard(t.Context(), all)
			if err != nil {
				t.Fatal(err)
			}
			replay, err := b.client.PlanReplay(t.Context(), all)
			if err != nil {
				t.Fatal(err)
			}
			b.exec(t, change.sql)
			for what, do := range map[string]func() (ops.DeadLetterResult, error){
				"discard": func() (ops.DeadLetterResult, error) { return b.client.DiscardDeadLetters(t.Context(), discard, nil) },
				"replay":  func() (ops.DeadLetterResult, error) { return b.client.ReplayDeadLetters(t.Context(), replay, nil) },
			} {
				done, err := do()
				if err != nil || done.Changed != 0 || len(done.Unchanged) != 1 || string(done.Unchanged[0].State) != change.state || !done.Complete {
					t.Errorf("%s: %+v, %v", what, done, err)
				}
				if got := b.states(t); got != change.state {
					t.Errorf("%s: it is %s, want %s", what, got, change.state)
				}
			}
			if discard, err = b.client.PlanDiscard(t.Context(), all); err != nil {
				t.Fatal(err)
			}
			if done, err := b.client.DiscardDeadLetters(t.Context(), discard, nil); err != nil || done.Changed != 1 {
				t.Errorf("with a plan of now: %+v, %v", done, err)
			}
		})
	}
}

// Discarding the first dead letter of a key releases the next one, but none that is to be discarded, too: not even where they are so many
// that they go in parts.
func TestDiscardReleasesNothingOfItsPlan(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.store(t, 2)
	b.exec(t, `INSERT INTO idem.dead_letters (id, state, key, key_hash, topic_id, record_offset, claim_id, consumer_id, record_partition, attempts, topic, error, header_keys, header_values)
		SELECT pg_catalog.gen_random_uuid(), state, key, key_hash, topic_id, n, claim_id, consumer_id, record_partition, attempts, topic, error, '{}', '{}'
		FROM idem.dead_letters, pg_catalog.generate_series(2, 2000) n WHERE record_offset OPERATOR(pg_catalog.=) 1`)
	plan, err := b.client.PlanDiscard(t.Context(), ops.DeadLetterChoice{All: true})
	if err != nil || len(plan.DeadLetters) != 2001 || plan.Released != 0 {
		t.Fatal(len(plan.DeadLetters), plan.Released, err)
	}
	done, err := b.client.DiscardDeadLetters(t.Context(), plan, nil)
	if err != nil || done.Changed != 2001 || len(done.Unchanged) != 0 {
		t.Errorf("changed %d, unchanged %d, %v", done.Changed, len(done.Unchanged), err)
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

package history_test

import (
	"strings"
	"testing"

	"github.com/nova-events/idempotent-consumer/e2e/history"
)

var second = history.Partition{Topic: "outcomes", Partition: 0}

// published is what came through the outbox for an effect.
func published(offset int64, with history.Effect, run string) history.Published {
	with.Run = run

	return history.Published{Record: history.Record{
		Place: history.Place{Partition: second, Offset: offset}, Event: "outcome-of-" + with.Event, Key: with.Key,
	}, With: with}
}

func run(seconds float64, reign string, try int64, offset int64, run string) history.Entry {
	e := by(seconds, history.Handled, reign, try, offset)
	e.Run = run

	return e
}

// leased makes an entry about the lease of e5.
func leased(seconds float64, kind history.Kind, worker string, attempt int64) history.Entry {
	return history.Entry{At: at(seconds), Worker: worker, Kind: kind, Event: "e5", Try: attempt}
}

func charge(seconds float64, attempt int64, key string) history.Charge {
	return history.Charge{At: at(seconds), Event: "e5", Attempt: attempt, Key: key, Receipt: "paid with " + key}
}

// chained is a good run whose effects were published: that of e2 twice, because the database lost the first one. And e5
// was charged by three attempts: a is frozen in the first, b asks twice and completes the third.
func chained() history.Run {
	r := good()
	effects := r.Tables.Effects
	for i, name := range []string{"r0", "r1", "r2b", "r5"} {
		effects[i].Run = name
	}
	effects[3].Receipt = "paid with k5"
	r.Published = []history.Published{
		published(0, effects[0], "r0"), published(1, effects[1], "r1"), published(2, effects[2], "r2a"),
		published(3, effects[0], "r0"), published(4, effects[2], "r2b"), published(5, effects[3], "r5"),
	}
	r.Entries = append(r.Entries,
		run(2.1, "a1", 1, 0, "r0"), run(2.1, "a1", 1, 1, "r1"), run(6.2, "b1", 1, 2, "r2a"), run(9.6, "b2", 2, 2, "r2b"), run(9.7, "b2", 2, 5, "r5"),
		leased(8.6, history.Sought, "a", 0), leased(8.7, history.Charging, "a", 1), leased(9.9, history.Charged, "a", 1),
		leased(9.50, history.Sought, "b", 0), leased(9.52, history.Charging, "b", 2),
		leased(9.55, history.Sought, "b", 0), leased(9.56, history.Charging, "b", 3), leased(9.60, history.Charged, "b", 3), leased(9.61, history.Settled, "b", 3),
	)
	r.Charges = []history.Charge{charge(9.53, 2, "k5"), charge(9.57, 3, "k5"), charge(9.8, 1, "k5")}

	return r
}

func TestGoodChain(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(r *history.Run){
		"as it is": func(*history.Run) {},
		"a replay that comes late": func(r *history.Run) {
			r.Tables.Effects[0].Letter = "a letter"
			r.Tables.Letters = []history.Letter{{Place: r.Log[0].Place, Event: "e0", State: "replayed"}}
			r.Published = append(r.Published[1:3:3], r.Published[4], r.Published[5], published(6, r.Tables.Effects[0], "r0"))
		},
		"an attempt that the database has lost": func(r *history.Run) {
			r.Entries = append(r.Entries, leased(8, history.Sought, "c", 0), leased(8.1, history.Charging, "c", 1), leased(8.2, history.Charged, "c", 1), leased(8.3, history.Settled, "c", 1))
		},
		"two attempts that the database has lost": func(r *history.Run) {
			r.Entries = append(r.Entries, leased(8, history.Sought, "c", 0), leased(8.1, history.Charging, "c", 4))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := chained()
			change(&r)
			for _, v := range check(r) {
				t.Errorf("%s: %s\n%s", v.Rule, v.Says, strings.Join(v.Story, "\n"))
			}
		})
	}
}

// Bad chains break one rule each, and say so with the story.
func TestBadChains(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		rule  history.Rule
		spoil func(r *history.Run)
		says  string
		story string
	}{
		"what was published has not come": {
			history.Lost, func(r *history.Run) { r.Published = r.Published[:5] },
			"event e5 took effect in run r5, and what that published has not come", "written in reign b2",
		},
		"of a transaction that was rolled back": {
			history.Phantom, func(r *history.Run) {
				r.Entries = append(r.Entries, run(3.1, "a1", 2, 2, "r2"))
				r.Entries[12].At = at(5.2) // a says that it has rolled back before anything can be lost.
				r.Published = append(r.Published, published(6, r.Tables.Effects[2], "r2"))
			}, "run r2 of event e2 has no effect, and what it published came to outcomes/0@6", "a rolled back orders/0 at 2 (a1)",
		},
		"of a run that never was": {
			history.Phantom, func(r *history.Run) { r.Published = append(r.Published, published(6, r.Tables.Effects[2], "r9")) },
			"run r9 of event e2 has no effect, and what it published came to outcomes/0@6", "published as event outcome-of-e2 in run r9",
		},
		"later ones of a key first": {
			history.Reordered, func(r *history.Run) { r.Published[2], r.Published[5] = r.Published[5], r.Published[2] },
			"key k: what event e2 at orders/0@2 published came after that of event e5 at orders/0@5", "a record through the outbox at outcomes/0@4",
		},
		"another id": {
			history.Renamed, func(r *history.Run) { r.Published[4].Event = "x" },
			"what event e2 published came as outcome-of-e2 and as x", "published as event x in run r2b",
		},
		"an attempt without a number of its own": {
			history.Uncounted, func(r *history.Run) {
				r.Entries = append(r.Entries, leased(9.3, history.Sought, "c", 0), leased(9.4, history.Charging, "c", 2))
			}, "event e5: two attempts, of c and b, have the number 2", "c charging event e5, attempt 2",
		},
		"a request without an attempt": {
			history.Uncounted, func(r *history.Run) { r.Charges = append(r.Charges, charge(9.9, 4, "k5")) },
			"event e5: the provider was asked by attempt 4, which never began", "the provider was asked by attempt 4 with key k5: receipt paid with k5",
		},
		"a former attempt completes": {
			history.Overridden, func(r *history.Run) {
				last := len(r.Entries) - 1
				r.Entries[last] = leased(9.91, history.Settled, "a", 1) // It has the answer at 9.9, b began at 9.52.
				r.Losses[0].To = at(8.5)
			}, "event e5: attempt 1 of a completed it, although attempt 2 of b had begun before", "a completed event e5, attempt 1",
		},
		"two completions": {
			history.Resettled, func(r *history.Run) {
				r.Entries = append(r.Entries, leased(9.92, history.Sought, "c", 0), leased(9.93, history.Charging, "c", 4), leased(9.94, history.Charged, "c", 4), leased(9.95, history.Settled, "c", 4))
			}, "event e5: attempts 3 and 4, of b and c, completed it", "c completed event e5, attempt 4",
		},
		"two completions behind one that the database has lost": {
			history.Resettled, func(r *history.Run) {
				r.Entries = append(r.Entries, leased(8, history.Sought, "c", 0), leased(8.1, history.Charging, "c", 1), leased(8.2, history.Charged, "c", 1), leased(8.3, history.Settled, "c", 1),
					leased(9.92, history.Sought, "d", 0), leased(9.93, history.Charging, "d", 4), leased(9.94, history.Charged, "d", 4), leased(9.95, history.Settled, "d", 4))
			}, "event e5: attempts 3 and 4, of b and d, completed it", "d completed event e5, attempt 4",
		},
		"another key": {
			history.Recharged, func(r *history.Run) { r.Charges[2] = charge(9.8, 1, "x") },
			"event e5 was charged with key k5 and key x", "by attempt 1 with key x",
		},
		"a receipt of nobody": {
			history.Phantom, func(r *history.Run) { r.Tables.Effects[3].Receipt = "forged" },
			"event e5 took effect with receipt forged, which the provider gave nobody for it", "with key k5",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := chained()
			test.spoil(&r)
			expectOne(t, r, test.rule, test.says, test.story)
		})
	}
}

// expectOne expects one violation.
func expectOne(t *testing.T, r history.Run, rule history.Rule, says, story string) {
	t.Helper()
	verdict := check(r)
	if len(verdict) != 1 || verdict.Count(rule) != 1 {
		t.Fatalf("%d violations: %+v; want one of %q", len(verdict), verdict, rule)
	}
	if v := verdict[0]; !strings.Contains(v.Says, says) || !strings.Contains(strings.Join(v.Story, "\n"), story) {
		t.Errorf("%s\n%s", v.Says, strings.Join(v.Story, "\n"))
	}
}

package history_test

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nova-events/idempotent-consumer/e2e/history"
)

var (
	start = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	first = history.Partition{Topic: "orders", Partition: 0}
)

// at is so many seconds after the start.
func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }

// record is one of the first partition.
func record(offset int64, event, key string) history.Record {
	return history.Record{Place: history.Place{Partition: first, Offset: offset}, Event: event, Key: key}
}

func effect(r history.Record, reign string) history.Effect {
	return history.Effect{Record: r, Reign: reign}
}

// by makes an entry of a worker, whose name the reign begins with.
func by(seconds float64, kind history.Kind, reign string, try int64, offsets ...int64) history.Entry {
	return history.Entry{Partition: first, At: at(seconds), Worker: reign[:1], Kind: kind, Reign: reign, Try: try, Offsets: offsets}
}

// seen is an answer that comes at once.
func seen(seconds float64, checkpoint, committed int64) history.Seen {
	return history.Seen{Partition: first, Asked: at(seconds), At: at(seconds), Checkpoint: checkpoint, Committed: committed}
}

// count lets transactions count as often as there are effects.
func count(r *history.Run) {
	r.Tables.Counted = map[string]int{}
	for _, e := range r.Tables.Effects {
		r.Tables.Counted[e.Event]++
	}
}

// check judges a run, in which each transaction has counted unless the run says otherwise.
func check(r history.Run) history.Verdict {
	if r.Tables.Counted == nil {
		count(&r)
	}

	return history.Check(r)
}

// committed are the entries of a COMMIT that is answered soon.
func committed(seconds float64, reign string, try int64) []history.Entry {
	return []history.Entry{by(seconds, history.Committing, reign, try), by(seconds+0.05, history.Landed, reign, try)}
}

// good is a run in which a processes two records, is frozen in the middle of the third, and b goes on: with the third,
// with a duplicate of the first, and after the loss of that all with the third again.
func good() history.Run {
	r := history.Run{
		Log: []history.Record{record(0, "e0", "k"), record(1, "e1", "l"), record(2, "e2", "k"), record(4, "e0", "k"), record(5, "e5", "k")},
		Entries: []history.Entry{
			by(0, history.Started, "a", 0),
			by(1, history.Acquired, "a1", 0, 0),
			by(2, history.Began, "a1", 1, 0, 1),
			by(2.1, history.Handled, "a1", 1, 0),
			by(2.5, history.Committed, "a1", 1, 0, 1),
			by(2.6, history.OffsetTold, "a1", 0, 2),
			by(3, history.Began, "a1", 2, 2),
			by(4, history.Started, "b", 0),
			by(5, history.Acquired, "b1", 0, 2),
			by(6, history.Began, "b1", 1, 2, 4),
			by(6.5, history.Committed, "b1", 1, 2, 4),
			by(6.6, history.OffsetTold, "b1", 0, 5),
			by(7, history.RolledBack, "a1", 2, 2),
			by(7.1, history.GaveUp, "a1", 0),
			by(9, history.Rewound, "b1", 0, 2),
			by(9.1, history.GaveUp, "b1", 0),
			by(9.2, history.Acquired, "b2", 0, 2),
			by(9.5, history.Began, "b2", 2, 2, 4, 5),
			by(9.9, history.Committed, "b2", 2, 2, 4, 5),
			by(10, history.OffsetTold, "b2", 0, 6),
		},
		Seen: []history.Seen{
			seen(3, 2, 2),
			seen(7, 5, 5),
			seen(8.7, 2, 5),
			seen(11, 6, 6),
		},
		Losses: []history.Loss{{From: at(5.5), To: at(8.5), How: "failover"}},
	}
	r.Entries = slices.Concat(r.Entries, committed(2.4, "a1", 1), committed(6.4, "b1", 1), committed(9.8, "b2", 2))
	r.Tables = history.Tables{
		Effects: []history.Effect{effect(r.Log[0], "a1"), effect(r.Log[1], "a1"), effect(r.Log[2], "b2"), effect(r.Log[4], "b2")},
	}
	r.Sent = []history.Sent{
		{Record: r.Log[0], At: at(0.5), Producer: "p", Fate: history.Acknowledged},
		{Record: record(-1, "e3", "k"), At: at(0.6), Producer: "p", Fate: history.Aborted},
	}

	return r
}

func TestGoodRuns(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(r *history.Run){
		"as it is": func(*history.Run) {},
		"empty":    func(r *history.Run) { *r = history.Run{} },
		"a dead letter that waits": func(r *history.Run) {
			r.Tables.Effects = r.Tables.Effects[:3]
			r.Tables.Letters = []history.Letter{{Place: r.Log[4].Place, Event: "e5", State: "open"}}
		},
		"a replay out of order": func(r *history.Run) {
			replayed := effect(r.Log[0], "b2")
			replayed.Letter = "a letter"
			r.Tables.Effects = append(r.Tables.Effects[1:], replayed)
			r.Tables.Letters = []history.Letter{{Place: r.Log[0].Place, Event: "e0", State: "replayed"}}
		},
		"an operator's reset": func(r *history.Run) {
			r.Losses, r.Entries[14].Kind = nil, history.GaveUp
			r.Resets = []history.Reset{{Partition: first, From: at(8), To: at(8.6)}}
		},
		"an operator's reset while an answer is under way": func(r *history.Run) {
			r.Losses, r.Entries[14].Kind = nil, history.GaveUp
			r.Seen[1].At = at(8.5)
			r.Resets = []history.Reset{{Partition: first, From: at(8.2), To: at(8.3)}}
		},
		"a reset of which a former owner, and so the group, does not know yet": func(r *history.Run) {
			r.Entries[14].Kind = history.GaveUp
			r.Resets = []history.Reset{{Partition: first, From: at(-9), To: at(-8)}}
		},
		"a loss while an answer is under way": func(r *history.Run) {
			r.Seen[1].At = at(8.65)
		},
		"a second loss while nobody sees the group's offset": func(r *history.Run) {
			r.Losses = append(r.Losses, history.Loss{From: at(9.15), To: at(9.18), How: "failover"})
			r.Seen = append(r.Seen, seen(9.19, 2, -1))
		},
		"a second loss before the group's offset follows the first": func(r *history.Run) {
			r.Losses = append(r.Losses, history.Loss{From: at(9.06), To: at(9.08), How: "failover"})
			r.Seen = slices.Insert(r.Seen, 3, seen(9.05, -1, 5),
				seen(9.09, 2, -1))
		},
		"the group's offset when it was asked for before a loss and answered after it": func(r *history.Run) {
			r.Losses = append(r.Losses, history.Loss{From: at(9.15), To: at(9.18), How: "failover"})
			r.Seen = append(r.Seen, seen(9.19, 2, -1), history.Seen{Partition: first, Asked: at(9.12), At: at(9.95), Checkpoint: -1, Committed: 4})
		},
		"a loss that is told before the next look at the group": func(r *history.Run) {
			r.Entries[14].At, r.Seen[1].Asked, r.Seen[1].At = at(8.3), at(8.4), at(8.45)
		},
		"a loss that is told while the answer is under way": func(r *history.Run) {
			r.Seen[1].Asked, r.Seen[2].Committed = at(6.6), -1
			r.Losses = append(r.Losses, history.Loss{From: at(9.3), To: at(9.4), How: "failover"})
			r.Seen = append(r.Seen, history.Seen{Partition: first, Asked: at(8.9), At: at(9.25), Checkpoint: -1, Committed: 4}, seen(9.45, 2, -1))
		},
		"a loss that is told again because the group does not know yet": func(r *history.Run) {
			r.Entries = append(r.Entries, by(29, history.GaveUp, "b2", 0), by(30, history.Acquired, "b3", 0, 6), by(31, history.Rewound, "b3", 0, 2))
		},
		"another partition whose checkpoint is lower": func(r *history.Run) {
			untold(r)
			other := seen(8.9, 1, -1)
			other.Partition.Partition = 1
			r.Seen = append(r.Seen, other)
		},
		"a checkpoint that was lower before the group's offset": func(r *history.Run) {
			untold(r)
			r.Seen = append(r.Seen, seen(6, 3, -1))
		},
		"a checkpoint that nobody saw": func(r *history.Run) {
			untold(r)
			r.Seen = append(r.Seen, seen(8.6, -1, -1))
		},
		"an unclean election that sets the checkpoint before the group's offset": func(r *history.Run) {
			drop(r)
			r.Entries[14].Kind = history.GaveUp
			r.Seen[1].Checkpoint, r.Seen[1].Committed, r.Seen[2].Checkpoint, r.Seen[2].Committed = 7, 7, 5, 7
		},
		"an election of which an owner finds out again because the database has lost the first time": func(r *history.Run) {
			drop(r)
			r.Seen = append(r.Seen, seen(12, 9, 6), seen(12.1, 7, 6), seen(12.4, 9, 6), seen(12.5, 7, 6))
			r.Losses = append(r.Losses, history.Loss{From: at(12.2), To: at(12.3), How: "failover"})
		},
		"a dead letter that another one of the event supersedes": func(r *history.Run) {
			r.Tables.Effects[0].Letter = "another"
			r.Tables.Letters = []history.Letter{{Place: r.Log[0].Place, Event: "e0", State: "superseded"}}
		},
		"a topic that was created again": func(r *history.Run) {
			r.Gone = []history.Record{record(0, "e9", "k"), record(1, "e8", "k")}
			r.Tables.Effects = append([]history.Effect{effect(r.Gone[0], "a0")}, r.Tables.Effects...)
			r.Entries[5].Offsets = []int64{3}
			r.Losses = nil
			r.Entries[14].Kind = history.GaveUp
		},
		"an unclean election":                   drop,
		"a former owner where nobody is fenced": func(r *history.Run) { usurp(r); r.Unfenced = true },
		"a former owner whose COMMIT was in time, and the answer late": func(r *history.Run) {
			r.Entries[12].Kind, r.Tables.Effects[2].Reign = history.Committed, "a1"
			r.Entries = append(r.Entries, by(4.9, history.Committing, "a1", 2), by(6.9, history.Landed, "a1", 2))
		},
		"a former owner whose COMMIT was in time, and had no answer": func(r *history.Run) {
			r.Entries[12].Kind, r.Tables.Effects[2].Reign = history.Unknown, "a1"
			r.Entries = append(r.Entries, by(4.9, history.Committing, "a1", 2))
		},
		"a former owner whose COMMIT failed": func(r *history.Run) {
			usurp(r)
			r.Entries[12].Kind = history.RolledBack
			r.Entries[len(r.Entries)-1] = by(10.4, history.GaveUp, "a1", 0)
			r.Log, r.Tables.Effects = r.Log[:5], r.Tables.Effects[:4]
		},
		"an owner whom the database has lost": func(r *history.Run) {
			r.Entries = append(r.Entries, by(5.9, history.Started, "c", 0), by(6.2, history.Acquired, "c1", 0, 2))
		},
		"killed behind its COMMIT": func(r *history.Run) {
			r.Entries = slices.Concat(r.Entries[:18], r.Entries[20:25]) // without the answer
		},
		"an unsure record that is not there": func(r *history.Run) { r.Sent[0].Fate, r.Sent[0].Event = history.Unsure, "e9" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := good()
			change(&r)
			for _, v := range check(r) {
				t.Errorf("%s: %s\n%s", v.Rule, v.Says, strings.Join(v.Story, "\n"))
			}
		})
	}
}

// bad runs break one rule each, and say so with the story.
func TestBadRuns(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		rule  history.Rule
		spoil func(r *history.Run)
		says  string
		story string
	}{
		"not done in time": {
			history.Stalled, func(r *history.Run) { r.Stalled = "3 records are to be done" }, "3 records are to be done", "",
		},
		"no effect": {
			history.Lost, func(r *history.Run) { r.Tables.Effects = r.Tables.Effects[:3] },
			"event e5 is in the log, and has neither an effect nor a dead letter that waits",
			"12:00:09.900 b committed orders/0 at 2, 4-5 (b2)",
		},
		"a dead letter was replayed without effect": {
			history.Lost, func(r *history.Run) {
				r.Tables.Effects = r.Tables.Effects[:3]
				r.Tables.Letters = []history.Letter{{Place: r.Log[4].Place, Event: "e5", State: "replayed"}}
			}, "event e5 is in the log", "at the end: a dead letter of the record at orders/0@5, which is replayed",
		},
		"acknowledged and not there": {
			history.Lost, func(r *history.Run) {
				r.Sent = append(r.Sent, history.Sent{Record: record(3, "e3", "k"), At: at(0.7), Producer: "p", Fate: history.Acknowledged})
			}, "event e3 was acknowledged at orders/0@3, where the log does not have it", "p sent event e3 with key k, acknowledged at orders/0@3",
		},
		"the duplicate took effect": {
			history.Doubled, func(r *history.Run) {
				r.Tables.Effects = append(r.Tables.Effects, effect(r.Log[3], "b2"))
				r.Tables.Effects[3], r.Tables.Effects[4] = r.Tables.Effects[4], r.Tables.Effects[3]
			}, "event e0 took effect 2 times", "at the end: an effect of the record at orders/0@4, written in reign b2",
		},
		"an aborted record took effect": {
			history.Phantom, func(r *history.Run) {
				r.Tables.Effects = append(r.Tables.Effects, effect(record(3, "e3", "m"), "b2"))
			}, "event e3 took effect as the record at orders/0@3, which no reader of committed records finds",
			"p sent event e3 with key k to orders/0: aborted",
		},
		"an event that never was in a topic that was created again": {
			history.Phantom, func(r *history.Run) {
				r.Gone = []history.Record{record(0, "e9", "k")}
				r.Tables.Effects = append([]history.Effect{effect(record(8, "e8", "k"), "a0")}, r.Tables.Effects...)
				r.Tables.Effects[0].Key = "x"
			}, "event e8 took effect as the record at orders/0@8, which no reader of committed records finds", "",
		},
		"another event at that place": {
			history.Phantom, func(r *history.Run) { r.Tables.Effects[3].Key = "x" },
			"event e5 with key x took effect as the record at orders/0@5, which is event e5 with key k", "b2",
		},
		"acknowledged while all were in sync, and not there": {
			history.Lost, func(r *history.Run) {
				drop(r)
				r.Sent[2].At = at(1.5)
				r.Tables.Effects = r.Tables.Effects[1:]
			}, "event d5 was acknowledged at orders/0@5, where the log does not have it", "unclean election: the log of orders/0 ends at 5, without what was sent since 12:00:02.000",
		},
		"acknowledged by the new leader, and not there": {
			history.Lost, func(r *history.Run) {
				drop(r)
				r.Sent[2].At = at(9.15)
				r.Tables.Effects = r.Tables.Effects[1:]
			}, "event d5 was acknowledged at orders/0@5", "",
		},
		"acknowledged before the end of the new leader's log, and not there": {
			history.Lost, func(r *history.Run) {
				drop(r)
				r.Elections[0].End = 6
				r.Tables.Effects = r.Tables.Effects[1:]
			}, "event d5 was acknowledged at orders/0@5", "",
		},
		"a record in the place of a dropped one that has no effect": {
			history.Lost, func(r *history.Run) {
				drop(r)
				r.Tables.Effects = slices.Delete(r.Tables.Effects, 4, 5)
			}, "event e5 is in the log, and has neither", "p sent event e5 with key k, acknowledged at orders/0@5",
		},
		"a dropped record at another place": {
			history.Phantom, func(r *history.Run) {
				drop(r)
				r.Tables.Effects = append(r.Tables.Effects[1:], effect(record(6, "d5", "k"), "b2"))
			}, "event d5 took effect as the record at orders/0@6, which no reader", "",
		},
		"a dropped record twice": {
			history.Doubled, func(r *history.Run) {
				drop(r)
				r.Tables.Effects = append(r.Tables.Effects[:1:1], r.Tables.Effects...)
			}, "event d5 took effect 2 times", "",
		},
		"order of dropped records": {
			history.Reordered, func(r *history.Run) {
				drop(r)
				r.Sent = append(r.Sent, history.Sent{Record: record(6, "d6", "k"), At: at(2.6), Producer: "p", Fate: history.Acknowledged})
				r.Tables.Effects = append([]history.Effect{effect(record(6, "d6", "k"), "a1")}, r.Tables.Effects...)
			}, "key k: event d5 at orders/0@5 took effect after event d6 at orders/0@6", "",
		},
		"a checkpoint before the end of the new leader's log": {
			history.Back, func(r *history.Run) {
				drop(r)
				r.Losses, r.Entries[14].Kind = nil, history.GaveUp
			}, "the checkpoint of orders/0 went back from 5 to 2", "",
		},
		"a checkpoint that goes back twice for one election": {
			history.Back, func(r *history.Run) {
				drop(r)
				r.Seen = append(r.Seen, seen(12, 9, 6), seen(12.1, 7, 6), seen(12.2, 8, 6), seen(12.3, 7, 6))
			}, "the checkpoint of orders/0 went back from 8 to 7, and nobody lost or reset it", "",
		},
		"half a transaction": {
			history.Torn, func(r *history.Run) {
				count(r)
				delete(r.Tables.Counted, "e1")
			}, "event e1 has 1 effects, and their transactions have counted 0", "written in reign a1",
		},
		"half of two transactions": {
			history.Torn, func(r *history.Run) {
				count(r)
				r.Tables.Counted["e9"]++
			}, "event e9 has 0 effects, and their transactions have counted 1", "",
		},
		"order of a key": {
			history.Reordered, func(r *history.Run) {
				e := r.Tables.Effects
				e[2], e[3] = e[3], e[2]
			}, "key k: event e2 at orders/0@2 took effect after event e5 at orders/0@5", "b2",
		},
		"a replay where keys are parked": {
			history.Reordered, func(r *history.Run) {
				r.Parked = true
				replayed := effect(r.Log[0], "b2")
				replayed.Letter = "a letter"
				r.Tables.Effects = append(r.Tables.Effects[1:], replayed)
			}, "key k: event e0 at orders/0@0 took effect after event e5 at orders/0@5", "written in reign b2 (a letter)",
		},
		"stored and applied": {
			history.Both, func(r *history.Run) {
				r.Tables.Letters = []history.Letter{{Place: r.Log[0].Place, Event: "e0", State: "open"}}
			}, "event e0 has an effect and a dead letter", "which is open",
		},
		"stored and applied, and replayed later": {
			history.Both, func(r *history.Run) {
				r.Tables.Letters = []history.Letter{{Place: r.Log[0].Place, Event: "e0", State: "superseded"}}
			}, "event e0 has an effect and a dead letter", "which is superseded",
		},
		"a checkpoint without a loss": {
			history.Back, func(r *history.Run) { r.Losses, r.Entries[14].Kind = nil, history.GaveUp },
			"the checkpoint of orders/0 went back from 5 to 2, and nobody lost or reset it", "12:00:08.700 the checkpoint is 2",
		},
		"a reset of another partition": {
			history.Back, func(r *history.Run) {
				r.Losses, r.Entries[14].Kind = nil, history.GaveUp
				r.Resets = []history.Reset{{Partition: history.Partition{Topic: "orders", Partition: 1}, From: at(8), To: at(8.6)}}
			}, "the checkpoint of orders/0 went back from 5 to 2", "",
		},
		"a silent rewind": {
			history.Untold, func(r *history.Run) { r.Entries[14].Kind = history.GaveUp },
			"failover: the checkpoint of orders/0 then stood at 2, where the group had committed 5, and nobody said so",
			"failover: the database has lost what it committed since 12:00:05.500",
		},
		"a silent rewind beside an unclean election of another partition": {
			history.Untold, func(r *history.Run) {
				r.Entries[14].Kind = history.GaveUp
				r.Elections = []history.Election{{Partition: history.Partition{Topic: "orders", Partition: 1}, From: at(2), To: at(3)}}
			}, "failover: the checkpoint of orders/0 then stood at 2, where the group had committed 5, and nobody said so", "",
		},
		"a silent rewind of a partition that was reset long before, and later": {
			history.Untold, func(r *history.Run) {
				r.Entries[14].Kind = history.GaveUp
				r.Resets = []history.Reset{{Partition: first, From: at(-15), To: at(-14)}, {Partition: first, From: at(10.5), To: at(10.6)}}
			}, "failover: the checkpoint of orders/0 then stood at 2, where the group had committed 5, and nobody said so", "",
		},
		"a silent rewind, with an answer of before that comes after it": {
			history.Untold, func(r *history.Run) {
				r.Entries[14].Kind = history.GaveUp
				r.Seen = slices.Insert(r.Seen, 2, history.Seen{Partition: first, Asked: at(8.4), At: at(8.6), Checkpoint: 5, Committed: -1})
			}, "failover: the checkpoint of orders/0 then stood at 2, where the group had committed 5, and nobody said so", "",
		},
		"a rewind that is told when all is done again": {
			history.Untold, func(r *history.Run) {
				r.Entries[14].At = at(12)
			}, "failover: the checkpoint of orders/0 then stood at 2, where the group had committed 5, and nobody said so", "",
		},
		"a silent rewind that is seen only while commits could be lost": {
			history.Untold, func(r *history.Run) {
				r.Entries[14].Kind = history.GaveUp
				r.Seen[2].Asked, r.Seen[2].At, r.Losses[0].To = at(8.2), at(8.3), at(8.5)
			}, "failover: the checkpoint of orders/0 then stood at 2, where the group had committed 5, and nobody said so", "",
		},
		"a false alarm": {
			history.Alarmed, func(r *history.Run) {
				r.Losses, r.Seen = nil, nil
			}, "b said that the database had lost commits of orders/0, which it had not", "b rewound orders/0 at 2 (b1)",
		},
		"a false alarm long after a loss": {
			history.Alarmed, func(r *history.Run) {
				r.Entries = append(r.Entries, by(29, history.GaveUp, "b2", 0), by(30, history.Acquired, "b3", 0, 6),
					by(30.5, history.OffsetTold, "b3", 0, 6), by(31, history.Rewound, "b3", 0, 2))
			}, "b said that the database had lost commits of orders/0, which it had not", "b rewound orders/0 at 2 (b3)",
		},
		"a reset that is taken for a loss": {
			history.Alarmed, func(r *history.Run) {
				r.Losses = nil
				r.Resets = []history.Reset{{Partition: first, From: at(8), To: at(8.6)}}
			}, "b said that the database had lost commits of orders/0, which it had not", "b rewound orders/0 at 2 (b1)",
		},
		"before the transaction": {
			history.Early, func(r *history.Run) { r.Entries[5].At = at(2.4) },
			"a committed offset 2 of orders/0, and event e0 at 0 before it was not done with", "12:00:02.400 a offset told orders/0 at 2 (a1)",
		},
		"beyond what is done": {
			history.Early, func(r *history.Run) { r.Entries[5].Offsets = []int64{3} },
			"a committed offset 3 of orders/0, and event e2 at 2 before it was not done with", "",
		},
		"an old offset after a rewind": {
			history.Early, func(r *history.Run) { r.Entries[11].At = at(9.3) },
			"b committed offset 5 of orders/0, and event e2 at 2 before it was not done with", "",
		},
		"an old offset after a rewind, once more": {
			history.Early, func(r *history.Run) { r.Entries = append(r.Entries, by(9.3, history.OffsetTold, "b2", 0, 5)) },
			"b committed offset 5 of orders/0, and event e2 at 2 before it was not done with", "",
		},
		"a former owner": {
			history.Usurped, usurp, "orders/0: there is no order of its owners and their transactions", "b acquired orders/0 at 2 (b2)",
		},
		"a former owner that had begun before": {
			history.Usurped, func(r *history.Run) {
				usurp(r)
				r.Entries[6].At = at(3)
			}, "orders/0: there is no order of its owners and their transactions", "",
		},
		"a former owner whose COMMIT had no answer": {
			history.Usurped, func(r *history.Run) {
				usurp(r)
				r.Entries = r.Entries[:len(r.Entries)-1]
			}, "orders/0: there is no order of its owners and their transactions", "",
		},
		"a former owner, with a part of what it had begun": {
			history.Usurped, func(r *history.Run) {
				usurp(r)
				r.Entries[6].Offsets = []int64{7, 8}
				r.Entries = append(r.Entries, by(10.29, history.RolledBack, "a1", 2, 8))
			}, "orders/0: there is no order of its owners and their transactions", "",
		},
		"a former owner behind one of whom there is no effect": {
			history.Usurped, func(r *history.Run) {
				r.Entries = append(r.Entries, by(9.5, history.Started, "c", 0), by(9.7, history.Acquired, "c1", 0, 2))
			}, "orders/0: there is no order of its owners and their transactions", "c acquired orders/0 at 2 (c1)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := good()
			test.spoil(&r)
			expectOne(t, r, test.rule, test.says, test.story)
		})
	}
}

// untold has the failover lose nothing, and nobody say so.
func untold(r *history.Run) {
	r.Entries[14].Kind, r.Seen[2].Checkpoint = history.GaveUp, 5
}

// drop has e5 come in the place of d5, which a had processed before an unclean election dropped it.
func drop(r *history.Run) {
	r.Elections = []history.Election{{Partition: first, From: at(2), To: at(9.1), End: 5}}
	dropped := record(5, "d5", "k")
	r.Sent = append(r.Sent, history.Sent{Record: dropped, At: at(2.5), Producer: "p", Fate: history.Acknowledged},
		history.Sent{Record: r.Log[4], At: at(9.2), Producer: "p", Fate: history.Acknowledged})
	r.Tables.Effects = append([]history.Effect{effect(dropped, "a1")}, r.Tables.Effects...)
}

// usurp has a thaw when b has processed all of its second reign, and take effect. The last entry is the answer to its COMMIT.
func usurp(r *history.Run) {
	r.Entries[6].At = at(10.2)
	r.Entries[12].Kind, r.Entries[12].At = history.Committed, at(10.3)
	r.Tables.Effects[2].Reign = "b2"
	r.Log = append(r.Log, record(7, "e7", "m"))
	r.Entries[6].Offsets, r.Entries[12].Offsets = []int64{7}, []int64{7}
	r.Tables.Effects = append(r.Tables.Effects, effect(r.Log[5], "a1"))
	r.Entries = append(r.Entries, committed(10.25, "a1", 2)...)
}

func TestHistoriesOutliveAKill(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	w, err := history.NewWriter(folder, "w1")
	if err != nil {
		t.Fatal(err)
	}
	wrote := by(1, history.Acquired, "w", 0, 7)
	if err := w.Write(wrote); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	appendTo(t, folder+"/w1.history", `{"kind":"beg`) // It was killed while it wrote.
	got, err := history.Read(folder)
	if err != nil || len(got) != 2 || got[0].Kind != history.Started || !got[1].At.Equal(wrote.At) || got[1].Worker != "w1" || got[1].Offsets[0] != 7 {
		t.Errorf("read %+v, %v", got, err)
	}
}

func appendTo(t *testing.T, name, text string) {
	t.Helper()
	file, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}

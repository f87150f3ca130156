package history_test

import (
	"slices"
	"testing"

	"github.com/nova-events/idempotent-consumer/e2e/history"
)

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
		"a silent rewind of a partition that was reset when a worker had come to it": {
			history.Untold, func(r *history.Run) {
				r.Entries[14].Kind = history.GaveUp
				r.Entries = append(r.Entries, by(8.75, history.Began, "b1", 3, 5))
				r.Resets = []history.Reset{{Partition: first, From: at(8.8), To: at(8.9)}}
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

package history_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/nova-events/idempotent-consumer/e2e/history"
)

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
		"a reset behind a loss, before any worker comes to the partition": func(r *history.Run) {
			r.Entries[14].Kind = history.GaveUp
			r.Resets = []history.Reset{{Partition: first, From: at(8.8), To: at(8.9)}}
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

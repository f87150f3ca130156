package history_test

import (
	"os"
	"slices"
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

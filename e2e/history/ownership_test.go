package history_test

import (
	"slices"
	"testing"

	"github.com/nova-events/idempotent-consumer/e2e/history"
)

// c acquires the partition, and commits before and, by default, behind b, who acquires it at 5. No record of theirs is in the log: there are effects only
// where a case has some.
func TestOwners(t *testing.T) {
	t.Parallel()
	var (
		acquired = slices.Concat([]history.Entry{by(0, history.Started, "b", 0), by(0.1, history.Started, "c", 0), by(4.3, history.Acquired, "c1", 0, 7)},
			committed(4.4, "c1", 1), []history.Entry{by(5, history.Acquired, "b1", 0, 7)})
		again    = by(4.5, history.Started, "b", 0) // So it cannot have acquired the partition before c.
		late     = committed(7, "c1", 9)
		began    = by(4.45, history.Began, "c1", 9, 7)
		answered = by(7.5, history.Landed, "c1", 1)
		of       = func(offset int64) history.Effect { return effect(record(offset, "e", "k"), "c1") }
	)
	elsewhere := func(e history.Entry) history.Entry {
		e.Partition.Partition++

		return e
	}
	type entries = []history.Entry
	for name, test := range map[string]struct {
		usurped bool
		entries entries
		effects []history.Effect
		losses  []history.Loss
	}{
		"who acquired it first may say so late":       {false, late, nil, nil},
		"who started later has acquired it later":     {true, append(late, again), nil, nil},
		"who gave it up has acquired it later":        {true, append(late, by(4.5, history.GaveUp, "b1", 0)), nil, nil},
		"who gave up another one may have had this":   {false, append(late, elsewhere(by(4.5, history.GaveUp, "b1", 0))), nil, nil},
		"other partitions have owners of their own":   {false, append(late, by(5.5, history.Started, "d", 0), elsewhere(by(6, history.Acquired, "d1", 0, 7))), nil, nil},
		"a COMMIT may be lost":                        {false, append(late, again), nil, []history.Loss{{From: at(6), To: at(8)}}},
		"a COMMIT that may be lost has an effect":     {true, append(late, again, began), []history.Effect{of(7)}, []history.Loss{{From: at(6), To: at(8)}}},
		"a COMMIT without an answer has no effect":    {false, entries{again, began, late[0]}, nil, nil},
		"a COMMIT without an answer has an effect":    {true, entries{again, began, late[0]}, []history.Effect{of(7)}, nil},
		"the effect is of another COMMIT of the try":  {false, entries{again, began, by(4.6, history.Committing, "c1", 9), late[0]}, []history.Effect{of(7)}, nil},
		"the effect is of another try":                {false, entries{again, by(4.45, history.Began, "c1", 8, 7), by(4.6, history.Committing, "c1", 8), began, late[0]}, []history.Effect{of(7)}, nil},
		"another effect is of an earlier try":         {true, entries{again, by(4.45, history.Began, "c1", 8, 6), by(4.6, history.Committing, "c1", 8), began, late[0]}, []history.Effect{of(6), of(7)}, nil},
		"an earlier COMMIT is answered later":         {true, entries{again, began, late[0], answered}, []history.Effect{of(7)}, nil},
		"the acquisition of the other may be lost":    {false, append(late, again), nil, []history.Loss{{From: at(4.6), To: at(6)}}},
		"it may be lost, and has a COMMIT":            {false, append(committed(7, "b1", 1), again), nil, []history.Loss{{From: at(4.6), To: at(6)}}},
		"it may be lost, and has a COMMIT before c's": {true, slices.Concat(committed(6.5, "b1", 1), late, entries{again}), nil, []history.Loss{{From: at(4.6), To: at(6)}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			verdict := history.Check(history.Run{Entries: slices.Concat(acquired, test.entries), Losses: test.losses, Tables: history.Tables{Effects: test.effects}})
			if got := verdict.Count(history.Usurped) > 0; got != test.usurped {
				t.Errorf("usurped: %t, want %t", got, test.usurped)
			}
		})
	}
}

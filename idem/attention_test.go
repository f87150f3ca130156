package idem_test

import (
	"slices"
	"testing"
	"time"

	"github.com/nova-events/idempotent-consumer/idem"
)

// Owners of quiet partitions learn together which of them have something to do.
func TestAttention(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	owners := make([]*idem.Owner, 4)
	for i := range owners {
		var err error
		if owners[i], err = b.guard.Acquire(ctx, idem.Partition{Topic: "orders", Number: int32(i)}, idem.AcquireOptions{Patience: time.Minute}); err != nil {
			t.Fatal(err)
		}
		if err := owners[i].Advance(ctx, 10); err != nil {
			t.Fatal(err)
		}
	}
	lanes, err := owners[3].Lanes(ctx, 2)
	if err != nil {
		t.Fatal(err)
	}
	all := slices.Concat(owners, lanes, []*idem.Owner{b.guard.Unfenced(idem.Partition{Topic: "refunds"})}) // 0 to 3, 4 and 5, 6
	want := func(what string, indexes ...int) {
		t.Helper()
		need, err := b.guard.Attention(ctx, all)
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for i, needed := range need {
			if needed {
				got = append(got, i)
			}
		}
		if !slices.Equal(got, indexes) {
			t.Errorf("%s: %v need a look, want %v", what, got, indexes)
		}
	}
	want("nothing happened")
	letter := idem.DeadLetter{State: idem.DeadLetterOpen, Partition: idem.Partition{Topic: "refunds"}, Offset: 1, EventID: "r", Value: []byte("x"), Error: "boom"}
	if _, err := all[6].StoreDeadLetter(ctx, letter); err != nil {
		t.Fatal(err)
	}
	want("an open dead letter")
	b.askForReplay(t)
	want("a replay", 6)
	b.exec(t, `UPDATE idem.checkpoints SET next_offset = 9 WHERE partition = 0`)
	want("the database went back", 0, 6)
	b.exec(t, `UPDATE idem.checkpoints SET next_offset = 11 WHERE partition = 0`)
	want("somebody has moved the checkpoint", 0, 6)
	if _, err := b.guard.Acquire(ctx, owners[1].Partition(), idem.AcquireOptions{Patience: time.Minute}); err != nil {
		t.Fatal(err)
	}
	want("another owner", 0, 1, 6)
	b.exec(t, `DELETE FROM idem.checkpoints WHERE partition = 2`)
	want("no checkpoint", 0, 1, 2, 6)
	b.exec(t, `UPDATE idem.checkpoints SET next_offset = 9 WHERE partition = 3 AND lane = 2`)
	want("a lane went back", 0, 1, 2, 5, 6)
	if need, err := b.guard.Attention(ctx, nil); len(need) > 0 || err != nil {
		t.Errorf("of no owners: %v, %v", need, err)
	}
}

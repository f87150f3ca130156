package idem_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
)

// What is about the token or the checkpoint does nothing, not even I/O.
func TestUnfencedOwnerHasNoCheckpoint(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	o := newGuard(t, unreachable(t), idem.Config{Consumer: "orders"}).Unfenced(partition)
	starts, beginErr := o.Begin(ctx, 7)
	if n, decoded, err := o.BeginDecoding(ctx, 7); n != 0 || decoded || err != nil {
		t.Errorf("decoding: %d starts, decoded %v, %v", n, decoded, err)
	}
	o.SetLeaderEpoch(3)
	if err := errors.Join(beginErr, o.End(ctx, 7), o.Advance(ctx, 9), o.Reset(ctx, 4), o.Verify(ctx)); err != nil || starts != 0 {
		t.Errorf("%d starts, %v", starts, err)
	}
	if o.Token() != "" || o.Next() != 0 || o.IsNew() || o.Epoch() != 0 || o.ResetSince(0) || o.Recreated() || o.LeaderEpoch() != -1 || o.Partition() != partition {
		t.Errorf("token %q, next %d, new %v, epoch %d, reset %v, recreated %v", o.Token(), o.Next(), o.IsNew(), o.Epoch(), o.ResetSince(0), o.Recreated())
	}
	lanes, err := o.Lanes(ctx, 3)
	if err != nil || len(lanes) != 3 || lanes[2].Token() != "" || lanes[2].Partition() != partition {
		t.Errorf("lanes: %v, %v", lanes, err)
	}
	for _, n := range []int{0, -1, 1 << 20} {
		if _, err := o.Lanes(ctx, n); !errors.Is(err, idem.ErrInvalidConfig) {
			t.Errorf("%d lanes: %v", n, err)
		}
	}
	for name, try := range map[string]func() error{
		"Process":           func() error { return second(o.Process(ctx, idem.Event{Offset: 1}, effect("e"))) },
		"without a place":   func() error { return second(o.Process(ctx, idem.Event{ByCheckpoint: true}, effect("e"))) },
		"though it has one": func() error { return second(o.Process(ctx, idem.Event{ID: "e", ByCheckpoint: true}, effect("e"))) },
	} {
		if err := try(); !errors.Is(err, idem.ErrInvalidEventID) {
			t.Errorf("a record without an event id, %s: %v, want ErrInvalidEventID", name, err)
		}
	}
}

// Events are claimed by their ids alone, whatever their offsets, by any number of owners.
func TestUnfencedOwner(t *testing.T) {
	t.Parallel()
	b := setup(t)
	one, other := b.guard.Unfenced(partition), b.guard.Unfenced(partition)
	lanes, err := other.Lanes(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	wanted := idem.Processed
	for i, o := range []*idem.Owner{one, other, lanes[0], lanes[1]} {
		outcome, err := o.Process(t.Context(), idem.Event{ID: "e", Offset: int64(9 - i)}, effect("e"))
		want(t, "e", outcome, err, wanted)
		wanted = idem.AlreadyProcessed
	}
	b.wantProcessed(t, "e", true)

	// Nobody waits for it, and nobody ends it.
	outcome, err := one.Process(t.Context(), idem.Event{ID: "f"}, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := b.guard.Acquire(ctx, partition, idem.AcquireOptions{}); err != nil {
			return err
		}

		return effect("f")(ctx, tx)
	})
	want(t, "f", outcome, err, idem.Processed)
	b.wantProcessed(t, "f", true)
	if next := acquire(t, b.guard).Next(); next != 0 {
		t.Errorf("somebody has moved the checkpoint to %d", next)
	}
}

// A batch stops at the first event that cannot be processed, as that of any owner.
func TestUnfencedOwnersBatch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	o := b.guard.Unfenced(partition)
	handler := poisoned{poison: map[string]bool{"c": true}}
	events := batchOf("a", "b", "c", "d")
	for _, wanted := range []string{"PPE-", "AAE-"} {
		results, err := o.ProcessBatch(t.Context(), events, handler.handle)
		if got := outcomes(results); got != wanted || err != nil {
			t.Errorf("%s, %v; want %s", got, err, wanted)
		}
	}
	events[0].ByCheckpoint = true
	results, err := o.ProcessBatch(t.Context(), events, handler.handle)
	if got := outcomes(results); got != "E---" || err != nil || !errors.Is(results[0].Err, idem.ErrInvalidEventID) {
		t.Errorf("a record without an event id: %s, %v, %v", got, results[0].Err, err)
	}
	results, err = b.guard.ProcessBatch(t.Context(), events, handler.handle)
	if got := outcomes(results); got != "EAEP" || err != nil || !errors.Is(results[0].Err, idem.ErrInvalidEventID) {
		t.Errorf("the same without a partition: %s, %v, %v", got, results[0].Err, err)
	}
}

// Dead letters are stored, replayed and parked as by any owner.
func TestUnfencedOwnersDeadLetters(t *testing.T) {
	t.Parallel()
	b := setup(t)
	o := b.guard.Unfenced(partition)
	for offset, state := range []idem.DeadLetterState{idem.DeadLetterOpen, idem.DeadLetterParked} {
		outcome, err := o.StoreDeadLetter(t.Context(), keyed(state, state.String(), int64(offset)))
		want(t, state.String(), outcome, err, idem.Processed)
	}
	if keys, err := o.ParkedKeys(t.Context()); err != nil || !keys.Has([]byte("k")) {
		t.Errorf("parked keys: %v, %v", keys, err)
	}
	b.askForReplay(t)
	for _, id := range []string{"open", "parked"} {
		l, err := o.NextDeadLetter(t.Context())
		if err != nil || l.EventID != id {
			t.Fatalf("next is %q, %v; want %q", l.EventID, err, id)
		}
		outcome, err := o.Replay(t.Context(), l, effect(id))
		want(t, id, outcome, err, idem.Processed)
		b.wantProcessed(t, id, true)
	}
}

// An Owner that was not made by Acquire or Unfenced, or by those of no Guard, says so.
func TestZeroOwner(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	third := func(_ int, _ bool, err error) error { return err }
	for name, o := range map[string]*idem.Owner{
		"nil": nil, "zero": {}, "of a nil guard": (*idem.Guard)(nil).Unfenced(partition), "of a zero guard": (&idem.Guard{}).Unfenced(partition),
	} {
		var l idem.DeadLetter
		batch := func(context.Context, pgx.Tx, []idem.Event) error { return nil }
		for i, err := range []error{
			second(o.Process(ctx, idem.Event{ID: "e"}, effect("e"))), second(o.ProcessBatch(ctx, batchOf("a"), batch)),
			second(o.StoreDeadLetter(ctx, l)), second(o.NextDeadLetter(ctx)), second(o.Replay(ctx, l, effect("e"))),
			o.PutBackDeadLetter(ctx, l), o.ReopenDeadLetter(ctx, l, 1, errBoom), o.FillDeadLetter(ctx, l), o.ExpireDeadLetter(ctx, l, errBoom),
			second(o.ParkedKeys(ctx)), second(o.Lanes(ctx, 1)), second(o.Begin(ctx, 1)), third(o.BeginDecoding(ctx, 1)), o.End(ctx, 1), o.Advance(ctx, 1), o.Reset(ctx, 1), o.Verify(ctx),
		} {
			if !errors.Is(err, idem.ErrInvalidConfig) {
				t.Errorf("%s, call %d: %v", name, i, err)
			}
		}
	}
}

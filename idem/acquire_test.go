package idem_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/ops"
)

// hold returns once a session of its own has executed sql in a transaction, and the function that
// ends it.
func (b *bundle) hold(t *testing.T, sql string) (release func()) {
	t.Helper()
	tx, err := b.db.Pool(t).Begin(t.Context())
	if err == nil {
		_, err = tx.Exec(t.Context(), sql)
	}
	if err != nil {
		t.Fatal(err)
	}

	return func() {
		if err := tx.Rollback(t.Context()); err != nil {
			t.Errorf("a session that holds nothing of the partition was ended: %v", err)
		}
	}
}

// Somebody else has locked the row: Acquire must not end a session that processes nothing of the
// partition, must say who it may be, and go on as soon as it can.
func TestAcquireWaitsForStrangersAndSaysSo(t *testing.T) {
	t.Parallel()
	for name, lock := range map[string]string{
		"FOR UPDATE":              `SELECT FROM idem.checkpoints FOR UPDATE`,
		"FOR SHARE, by two":       `SELECT FROM idem.checkpoints FOR SHARE`,
		"a checkpoint of another": `INSERT INTO idem.checkpoints (consumer_id, topic, partition, acquired_at) SELECT consumer_id, topic, 3, now() FROM idem.consumers, (VALUES ('orders')) t(topic), LATERAL (SELECT id) i(consumer_id)`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			if strings.HasPrefix(lock, "INSERT") {
				if err := b.guard.Register(t.Context()); err != nil {
					t.Fatal(err)
				}
			} else {
				acquire(t, b.guard)
			}
			releases := []func(){b.hold(t, lock)}
			if strings.Contains(name, "two") {
				releases = append(releases, b.hold(t, lock))
			}
			told := make(chan error, 100)
			done := make(chan error, 1)
			go func() {
				_, err := b.guard.Acquire(t.Context(), partition, idem.AcquireOptions{Waiting: func(reason error) { told <- reason }})
				done <- err
			}()
			if reason := <-told; !strings.Contains(reason.Error(), "pid ") {
				t.Errorf("it says that it waits for: %v", reason)
			}
			for _, release := range releases {
				release()
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// The end of the context ends a wait, with what it waited for.
func TestAcquireThatWaitsEndsWithItsContext(t *testing.T) {
	t.Parallel()
	b := setup(t)
	acquire(t, b.guard)
	defer b.hold(t, `SELECT FROM idem.checkpoints FOR UPDATE`)()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := b.guard.Acquire(ctx, partition, idem.AcquireOptions{Waiting: func(error) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// A former owner that hangs before its first checkpoint is committed, or in a transaction that does not
// touch the checkpoint, is ended all the same; what it did is not committed.
func TestAcquireEndsTheFormerOwnersTransaction(t *testing.T) {
	t.Parallel()
	b := setup(t)
	former := acquire(t, b.guard)
	l := b.storedForReplay(t, letter("e", 0))
	other := newGuard(t, b.db.Pool(t), idem.Config{Consumer: "orders"})
	outcome, err := former.Replay(t.Context(), l, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := other.Acquire(ctx, partition, idem.AcquireOptions{Patience: 200 * time.Millisecond}); err != nil {
			t.Error(err)
		}

		return effect("e")(ctx, tx)
	})
	if outcome != 0 || !errors.Is(err, idem.ErrFenced) {
		t.Errorf("a held transaction of the former owner: %v, %v; want ErrFenced", outcome, err)
	}
	if n, states := b.effects(t, "e"), b.states(t); n != 0 || states != "replay" {
		t.Errorf("it took effect %d times; state %s", n, states)
	}
}

// Whoever acquires another partition does not wait for the transactions of this one, and ends none of them.
func TestAcquireLeavesOtherPartitionsAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	others := map[idem.Partition]*idem.Guard{
		{Topic: partition.Topic, Number: partition.Number + 1}: b.guard,
		{Topic: "refunds", Number: partition.Number}:           b.guard,
		partition: newGuard(t, b.db.Pool(t), idem.Config{Consumer: "another"}),
	}
	runs := 0
	outcome, err := acquire(t, b.guard).Process(t.Context(), idem.Event{ID: "e"}, func(ctx context.Context, tx pgx.Tx) error {
		runs++
		for other, guard := range others {
			_, err := guard.Acquire(ctx, other, idem.AcquireOptions{Patience: 200 * time.Millisecond, Waiting: func(reason error) { t.Errorf("%v: it waits for %v", other, reason) }})
			if err != nil {
				t.Errorf("%v: %v", other, err)
			}
		}

		return effect("e")(ctx, tx)
	})
	want(t, "the event", outcome, err, idem.Processed)
	if runs != 1 {
		t.Errorf("its transaction was ended: the handler ran %d times", runs)
	}
}

// Records that are replayed, out of their order, leave the checkpoint alone, and only the owner
// processes them.
func TestReplayHoldsThePartition(t *testing.T) {
	t.Parallel()
	b := setup(t)
	former := acquire(t, b.guard)
	l := b.storedForReplay(t, letter("a", 0))
	outcome, err := former.Replay(t.Context(), l, effect("a"))
	want(t, "first", outcome, err, idem.Processed)
	outcome, err = former.Replay(t.Context(), l, effect("a"))
	want(t, "again", outcome, err, idem.AlreadyProcessed)
	l = b.storedForReplay(t, letter("b", 1))
	owner := acquire(t, b.guard)
	if owner.Next() != 0 {
		t.Errorf("the checkpoint moved to %d", owner.Next())
	}
	if outcome, err := former.Replay(t.Context(), l, effect("b")); !errors.Is(err, idem.ErrFenced) {
		t.Errorf("the former owner: %v, %v", outcome, err)
	}
	if n := b.effects(t, "b"); n != 0 {
		t.Errorf("it took effect %d times", n)
	}
}

// The COMMIT of an acquisition lands and gets no answer: what it found out about the checkpoint still holds when it is
// tried again.
func TestAcquireWithoutAnswer(t *testing.T) {
	t.Parallel()
	c := setupCut(t, idem.RetryPolicy{})
	for _, isNew := range []bool{true, false} {
		c.proxy.CutNextCommit(pgtest.DropAfterCommit)
		if o := acquire(t, c.through); o.IsNew() != isNew {
			t.Errorf("new %v, want %v", o.IsNew(), isNew)
		}
	}
}

// That a checkpoint was set is known to each owner that finds an offset from before, however many owners end before
// they tell Kafka.
func TestResetIsRemembered(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var former int64 // epoch
	next := func(what string, reset bool) *idem.Owner {
		t.Helper()
		o := acquire(t, b.guard)
		if o.Epoch() <= former || o.ResetSince(former) != reset || o.ResetSince(o.Epoch()) {
			t.Errorf("%s: epoch %d after %d, reset since %v and since its own %v", what, o.Epoch(), former, o.ResetSince(former), o.ResetSince(o.Epoch()))
		}

		return o
	}
	o := next("the first owner", false)
	former = o.Epoch()
	former = next("the second", false).Epoch()

	client := operator(t, b.pool, b.schema)
	plan, err := client.PlanReset(t.Context(), ops.CheckpointTarget{Consumer: b.guard.Consumer(), Topic: partition.Topic, NextOffset: 5})
	if err == nil {
		_, err = client.ResetCheckpoints(t.Context(), plan)
	}
	if err != nil {
		t.Fatal(err)
	}
	next("behind an operator's reset", true)
	o = next("the one behind that", true)

	former = o.Epoch()
	if err := o.Reset(t.Context(), 3); err != nil || o.Epoch() <= former || !o.ResetSince(former) || o.ResetSince(o.Epoch()) {
		t.Errorf("Reset: %v, epoch %d after %d", err, o.Epoch(), former)
	}
	next("behind Reset", true)
	next("the one behind that", true)
}

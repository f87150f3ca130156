package idem_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/ops"
)

// Advance took effect and nobody heard of it, because the server went away after that. The next one goes
// on from there: else the checkpoint of a partition with lanes, which nothing else moves, would stand still.
func TestAdvanceGoesOnAfterOneWhoseAnswerWasLost(t *testing.T) {
	t.Parallel()
	b := setup(t)
	o := acquire(t, b.guard)
	if err := o.Advance(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	b.exec(t, `UPDATE idem.checkpoints SET next_offset = 20`)
	if err := o.Advance(t.Context(), 30); err != nil || o.Next() != 30 {
		t.Errorf("the next one: %v, at %d, want 30", err, o.Next())
	}
}

// An owner begins with lanes while another one acquires the partition: it has none, or they are fenced.
func TestLanesOfAFormerOwnerAreFenced(t *testing.T) {
	t.Parallel()
	b := setup(t)
	former := acquire(t, b.guard)
	release := b.hold(t, `INSERT INTO idem.checkpoints (consumer_id, topic, partition, lane) SELECT consumer_id, topic, partition, 1 FROM idem.checkpoints`)
	var lanes []*idem.Owner
	made := make(chan error, 1)
	go func() {
		var err error
		lanes, err = former.Lanes(t.Context(), 1)
		made <- err
	}()
	b.waitForLock(t)
	waits, acquired := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		_, err := b.guard.Acquire(t.Context(), partition, idem.AcquireOptions{Waiting: func(error) {
			select {
			case waits <- struct{}{}:
			default:
			}
		}})
		acquired <- err
	}()
	select {
	case <-waits:
		release()
		if err := <-acquired; err != nil {
			t.Fatal(err)
		}
	case err := <-acquired:
		release()
		if err != nil {
			t.Fatal(err)
		}
	}
	err := <-made
	if err == nil {
		_, err = lanes[0].Process(t.Context(), idem.Event{ID: "a", Offset: 0}, effect("a"))
	}
	if !errors.Is(err, idem.ErrFenced) {
		t.Errorf("a lane of the former owner: %v, want ErrFenced", err)
	}
}

// A former owner hears that it is one while the present owner's handler runs, however long that takes. It may be the
// rightful one: a member that was frozen between its joining the group and Acquire takes the partition from it.
func TestFormerOwnerDoesNotWaitForThePresentOne(t *testing.T) {
	t.Parallel()
	b := setup(t)
	former := acquire(t, b.guard)
	present := acquire(t, b.guard)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	outcome, err := present.Process(t.Context(), idem.Event{ID: "e", Offset: 0}, func(context.Context, pgx.Tx) error {
		if _, err := former.Process(ctx, idem.Event{ID: "e", Offset: 0}, effect("e")); !errors.Is(err, idem.ErrFenced) {
			t.Errorf("the former owner: %v, want ErrFenced", err)
		}

		return nil
	})
	want(t, "the present owner", outcome, err, idem.Processed)
}

// A former owner's replay waits for the partition while it is acquired, with a snapshot from before.
func TestReplayOfAFormerOwnerWithAnOldSnapshot(t *testing.T) {
	t.Parallel()
	for _, isolation := range []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable} {
		t.Run(string(isolation), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			former := acquire(t, b.guard)
			var key int64
			_, err := former.Replay(t.Context(), b.storedForReplay(t, letter("before", 0)), func(ctx context.Context, tx pgx.Tx) error {
				return tx.QueryRow(ctx, `SELECT classid::bigint << 32 | objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()`).Scan(&key)
			})
			if err != nil {
				t.Fatal(err)
			}
			l := b.storedForReplay(t, letter("a", 1))
			tx, err := b.db.Pool(t).Begin(t.Context()) // What Acquire does.
			if err == nil {
				_, err = tx.Exec(t.Context(), `SELECT pg_advisory_xact_lock($1)`, key)
			}
			if err == nil {
				_, err = tx.Exec(t.Context(), `UPDATE idem.checkpoints SET owner_token = gen_random_uuid()`)
			}
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() {
				_, err := former.Replay(t.Context(), l, effect("a"), idem.WithIsolation(isolation))
				done <- err
			}()
			b.waitForLock(t)
			if err := tx.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := <-done; !errors.Is(err, idem.ErrFenced) {
				t.Errorf("got %v, want ErrFenced", err)
			}
		})
	}
}

// Idle lanes stay behind the checkpoint, and busy ones are ahead of it: neither says what is processed.
func TestRequestOfARecordDoesNotLookAtLanes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	o := acquire(t, b.guard)
	if _, err := o.Lanes(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if err := o.Advance(t.Context(), 20); err != nil {
		t.Fatal(err)
	}
	// In the order of the heap, where the row that was updated last comes last.
	client := operator(t, b.db.Pool(t, func(config *pgxpool.Config) {
		config.ConnConfig.RuntimeParams["enable_indexscan"], config.ConnConfig.RuntimeParams["enable_bitmapscan"] = "off", "off"
	}), "idem")
	record := ops.RecordPlace{Consumer: "orders", Topic: partition.Topic, Partition: partition.Number, Offset: 10}
	if _, err := client.Reprocess(t.Context(), record); err != nil {
		t.Errorf("a record before the checkpoint: %v", err)
	}
	record.Offset = 20
	if _, err := client.Reprocess(t.Context(), record); !errors.Is(err, ops.ErrNotProcessed) {
		t.Errorf("a record behind the checkpoint: %v", err)
	}
}

// Reset sets the checkpoint back: lanes from before would take the records that come again for processed.
func TestResetEndsLanes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	o := acquire(t, b.guard)
	lanes, err := o.Lanes(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	for offset := range int64(5) {
		outcome, err := lanes[0].Process(t.Context(), idem.Event{ID: strconv.FormatInt(offset, 10), Offset: offset}, effect("a"))
		want(t, "in a lane", outcome, err, idem.Processed)
	}
	if err := o.Reset(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	for _, offset := range []int64{3, 9} { // before and behind where the lane was
		if outcome, err := lanes[0].Process(t.Context(), idem.Event{ID: "other", Offset: offset}, effect("other")); !errors.Is(err, idem.ErrFenced) {
			t.Errorf("a lane from before: %v, %v; want ErrFenced", outcome, err)
		}
	}
	if err := o.Advance(t.Context(), 1); err != nil {
		t.Error(err)
	}
	if lanes, err = o.Lanes(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	outcome, err := lanes[0].Process(t.Context(), idem.Event{ID: "other", Offset: 3}, effect("other"))
	want(t, "in a new lane", outcome, err, idem.Processed)
}

// The database loses a Reset: the checkpoint stands ahead of where its owner is, or where it has come since, and nothing of
// that is the owner's doing.
func TestDatabaseLosesAReset(t *testing.T) {
	t.Parallel()
	for name, since := range map[string]int{"at the next record": 0, "behind some": 5, "where it stood before": 50} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			o := acquire(t, b.guard)
			if err := o.Advance(t.Context(), 100); err != nil {
				t.Fatal(err)
			}
			former := o.Token()
			if err := o.Reset(t.Context(), 50); err != nil || o.Token() == former {
				t.Errorf("Reset: %v, with the token %s after %s", err, o.Token(), former)
			}
			process := func(first, n int) error {
				records := make([]idem.Event, n)
				for i := range records {
					records[i] = idem.Event{ByCheckpoint: true, Offset: int64(first + i)}
				}
				_, err := o.ProcessBatch(t.Context(), records, func(context.Context, pgx.Tx, []idem.Event) error { return nil })

				return err
			}
			if since > 0 {
				if err := process(50, since); err != nil {
					t.Fatal(err)
				}
			}
			b.exec(t, `UPDATE idem.checkpoints SET next_offset = 100, owner_token = $1, epoch = epoch - 1, reset_epoch = 0`, former)
			if err := o.Verify(t.Context()); !errors.Is(err, idem.ErrFenced) {
				t.Errorf("Verify: %v, want ErrFenced", err)
			}
			if err := process(50+since, 80); !errors.Is(err, idem.ErrFenced) { // Beyond 100.
				t.Errorf("the next records: %v, want ErrFenced", err)
			}
		})
	}
}

// The database goes back to before a Reset: the checkpoint stands ahead of where its owner is, whose own
// doing that cannot be.
func TestDatabaseGoesBackBehindAReset(t *testing.T) {
	t.Parallel()
	b := setup(t)
	o := acquire(t, b.guard)
	for _, err := range []error{o.Advance(t.Context(), 100), o.Reset(t.Context(), 50)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	outcome, err := o.Process(t.Context(), idem.Event{ByCheckpoint: true, Offset: 50}, effect("50"))
	want(t, "after Reset", outcome, err, idem.Processed)
	b.exec(t, `UPDATE idem.checkpoints SET next_offset = 100`)
	if outcome, err := o.Process(t.Context(), idem.Event{ByCheckpoint: true, Offset: 51}, effect("51")); !errors.Is(err, idem.ErrFenced) {
		t.Errorf("the next record: %v, %v; want ErrFenced", outcome, err)
	}
	if err := o.Verify(t.Context()); !errors.Is(err, idem.ErrFenced) {
		t.Errorf("Verify: %v, want ErrFenced", err)
	}
}

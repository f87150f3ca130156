package idem_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
)

// The partition's checkpoint follows the lanes, and fences them.
func TestLanes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	o := acquire(t, b.guard)
	for range 2 { // Again with the same owner, after reading began anew elsewhere.
		lanes, err := o.Lanes(t.Context(), 2)
		if err != nil {
			t.Fatal(err)
		}
		for offset := range 4 {
			id := strconv.Itoa(offset)
			outcome, err := lanes[offset%2].Process(t.Context(), idem.Event{ID: id, Offset: int64(offset) + o.Next()}, effect(id))
			if err != nil || outcome == 0 {
				t.Fatalf("%s: %v, %v", id, outcome, err)
			}
		}
		if err := o.Advance(t.Context(), o.Next()+4); err != nil {
			t.Fatal(err)
		}
	}
	for id, n := range map[string]int{"0": 1, "3": 1} {
		if got := b.effects(t, id); got != n {
			t.Errorf("%s took effect %d times", id, got)
		}
	}
	if o.Next() != 8 {
		t.Errorf("the checkpoint is at %d, want 8", o.Next())
	}
	for _, n := range []int{0, -1, 1 << 20} {
		if _, err := o.Lanes(t.Context(), n); !errors.Is(err, idem.ErrInvalidConfig) {
			t.Errorf("%d lanes: %v", n, err)
		}
	}
	former := o
	acquire(t, b.guard)
	if _, err := former.Lanes(t.Context(), 2); !errors.Is(err, idem.ErrFenced) {
		t.Errorf("lanes of a former owner: %v", err)
	}
	if err := former.Verify(t.Context()); !errors.Is(err, idem.ErrFenced) {
		t.Errorf("Verify of a former owner: %v", err)
	}
}

// The same with lanes: what the first try set back was told as lost commits.
func TestLanesThatComeLate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var sent statements
	o := acquire(t, newGuard(t, b.db.Pool(t, func(c *pgxpool.Config) { c.ConnConfig.Tracer = &sent }), idem.Config{Consumer: "orders"}))
	for range 2 { // The lanes of before have the same token.
		lanes, err := o.Lanes(t.Context(), 2)
		if err == nil {
			_, err = lanes[1].Process(t.Context(), idem.Event{ID: strconv.FormatInt(o.Next(), 10), Offset: o.Next()}, effect("e"))
		}
		if err != nil {
			t.Fatal(err)
		}
		tries := sent.of("CheckpointMakeLanes")
		for _, try := range tries {
			b.exec(t, try.SQL, try.Args...)
		}
		if err := o.Verify(t.Context()); err != nil {
			t.Errorf("behind %d tries that come late: %v", len(tries), err)
		}
		if err := o.Advance(t.Context(), o.Next()+1); err != nil {
			t.Fatal(err)
		}
	}
}

// Lanes commit without moving the partition's checkpoint. Lost commits of theirs are noticed all the
// same: by the lane's next transaction, by Advance and by Verify.
func TestDatabaseGoesBackUnderLanes(t *testing.T) {
	t.Parallel()
	for name, notice := range map[string]func(ctx context.Context, o *idem.Owner, lanes []*idem.Owner) error{
		"the lane": func(ctx context.Context, _ *idem.Owner, lanes []*idem.Owner) error {
			_, err := lanes[1].Process(ctx, idem.Event{ID: "7", Offset: 7}, effect("7"))

			return err
		},
		"advance": func(ctx context.Context, o *idem.Owner, _ []*idem.Owner) error { return o.Advance(ctx, 6) },
		"verify":  func(ctx context.Context, o *idem.Owner, _ []*idem.Owner) error { return o.Verify(ctx) },
	} {
		for loss, sql := range map[string]string{
			"a commit": `UPDATE idem.checkpoints SET next_offset = 4 WHERE lane = 2`,
			"the lane": `DELETE FROM idem.checkpoints WHERE lane = 2`,
		} {
			t.Run(name+" loses "+loss, func(t *testing.T) {
				t.Parallel()
				b := setup(t)
				o := acquire(t, b.guard)
				lanes, err := o.Lanes(t.Context(), 3)
				if err != nil {
					t.Fatal(err)
				}
				for offset := range 6 {
					id := strconv.Itoa(offset)
					outcome, err := lanes[offset%3].Process(t.Context(), idem.Event{ID: id, Offset: int64(offset)}, effect(id))
					want(t, id, outcome, err, idem.Processed)
				}
				if err := o.Verify(t.Context()); err != nil || o.Next() != 0 {
					t.Fatalf("nothing is lost, the checkpoint at %d: %v", o.Next(), err)
				}
				b.exec(t, sql)
				if err := notice(t.Context(), o, lanes); !errors.Is(err, idem.ErrRewound) {
					t.Fatalf("got %v, want ErrRewound", err)
				}
				again := acquire(t, b.guard)
				if again.Next() != 0 {
					t.Errorf("the checkpoint has moved to %d", again.Next())
				}
				outcome, err := lanes[2].Process(t.Context(), idem.Event{ID: "8", Offset: 8}, effect("8"))
				if outcome != 0 || !errors.Is(err, idem.ErrFenced) {
					t.Errorf("a lane of the former owner: %v, %v; want ErrFenced", outcome, err)
				}
			})
		}
	}
}

// Why a lane's row is gone tells whose the partition is.
func TestLaneWhoseRowIsGone(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		sql  string
		want error
	}{
		"its commits are lost":    {`DELETE FROM idem.checkpoints WHERE lane = 2`, idem.ErrRewound},
		"the acquisition is lost": {`WITH lanes AS (DELETE FROM idem.checkpoints WHERE lane > 0) UPDATE idem.checkpoints SET owner_token = gen_random_uuid() WHERE lane = 0`, idem.ErrFenced},
		"it is another database":  {`DELETE FROM idem.checkpoints`, idem.ErrCheckpointGone},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			o := acquire(t, b.guard)
			if err := o.Advance(t.Context(), 5); err != nil {
				t.Fatal(err)
			}
			lanes, err := o.Lanes(t.Context(), 2)
			if err != nil {
				t.Fatal(err)
			}
			b.exec(t, test.sql)
			if _, err := lanes[1].Process(t.Context(), idem.Event{ID: "7", Offset: 7}, effect("7")); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			b.wantNothing(t)
		})
	}
}

// Lanes that commit while the partition is looked at have lost nothing.
func TestVerifyWhileLanesCommit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	o := acquire(t, b.guard)
	lanes, err := o.Lanes(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	const each = 200
	var running sync.WaitGroup
	for i, lane := range lanes {
		running.Go(func() {
			for n := range each {
				offset := 2*n + i
				if _, err := lane.Process(t.Context(), idem.Event{ID: strconv.Itoa(offset), Offset: int64(offset)}, effect("lanes")); err != nil {
					t.Error(err)

					return
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		running.Wait()
		close(done)
	}()
	for looked := 0; ; looked++ {
		select {
		case <-done:
			if n := b.effects(t, "lanes"); n != 2*each || looked == 0 {
				t.Errorf("%d effects, looked at %d times", n, looked)
			}

			return
		default:
		}
		if err := o.Verify(t.Context()); err != nil {
			<-done
			t.Fatalf("after looking %d times: %v", looked, err)
		}
	}
}

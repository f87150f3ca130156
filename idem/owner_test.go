package idem_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

var partition = idem.Partition{Topic: "orders", Number: 3}

func acquire(t *testing.T, guard *idem.Guard) *idem.Owner {
	t.Helper()
	w, err := guard.Acquire(t.Context(), partition, idem.AcquireOptions{Patience: time.Minute})
	if err != nil {
		t.Fatal(err)
	}

	return w
}

// A record is processed once by its place, even when its key is forgotten.
func TestCheckpointOutlivesTheKey(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := acquire(t, b.guard)
	if w.Next() != 0 || w.Recreated() {
		t.Errorf("a new checkpoint: next %d, recreated %v", w.Next(), w.Recreated())
	}
	outcome, err := w.Process(t.Context(), idem.Event{ID: "e", Offset: 7}, effect("e"))
	want(t, "first", outcome, err, idem.Processed)
	if w.Next() != 8 {
		t.Errorf("the owner is at %d after it has processed 7", w.Next())
	}
	if _, err := b.guard.Forget(t.Context(), "e"); err != nil {
		t.Fatal(err)
	}
	outcome, err = w.Process(t.Context(), idem.Event{ID: "e", Offset: 7}, effect("e"))
	want(t, "again", outcome, err, idem.AlreadyProcessed)

	again := acquire(t, b.guard)
	if again.Next() != 8 {
		t.Errorf("the next owner goes on at %d, want 8", again.Next())
	}
	outcome, err = again.Process(t.Context(), idem.Event{ID: "e", Offset: 8}, effect("e"))
	want(t, "produced again", outcome, err, idem.Processed)
	outcome, err = again.Process(t.Context(), idem.Event{ID: "e", Offset: 9}, effect("e"))
	want(t, "a duplicate", outcome, err, idem.AlreadyProcessed)
	if n := b.effects(t, "e"); n != 2 {
		t.Errorf("it took effect %d times, want 2", n)
	}
}

func TestProcessByCheckpoint(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := acquire(t, b.guard)
	for offset, wanted := range []idem.Outcome{0: idem.Processed, 1: idem.Processed} {
		id := fmt.Sprint("offset ", offset)
		outcome, err := w.Process(t.Context(), idem.Event{ByCheckpoint: true, Offset: int64(offset)}, effect(id))
		want(t, id, outcome, err, wanted)
		outcome, err = w.Process(t.Context(), idem.Event{ByCheckpoint: true, Offset: int64(offset)}, effect(id))
		want(t, id+" again", outcome, err, idem.AlreadyProcessed)
		if n := b.effects(t, id); n != 1 {
			t.Errorf("%s took effect %d times", id, n)
		}
	}
	// Nothing is stored, whatever else stands in the event.
	metadata := &idem.Metadata{Host: "h"}
	outcome, err := w.Process(t.Context(), idem.Event{ByCheckpoint: true, ID: "id", Metadata: metadata, Fingerprint: 1, Offset: 2}, effect("all"), idem.WithHandlerDuration())
	want(t, "with an id and metadata", outcome, err, idem.Processed)
	_, err = w.Process(t.Context(), idem.Event{ByCheckpoint: true, Offset: 3}, func(ctx context.Context, tx pgx.Tx) error {
		return errors.Join(effect("fails")(ctx, tx), errBoom)
	})
	var handlerErr *idem.HandlerError
	if !errors.As(err, &handlerErr) || handlerErr.EventID != "orders/3/3" || !errors.Is(err, errBoom) {
		t.Errorf("a failing handler: %v", err)
	}
	outcome, err = w.Process(t.Context(), idem.Event{ByCheckpoint: true, Offset: 3}, effect("works"))
	want(t, "after a failure", outcome, err, idem.Processed)
	if n := b.effects(t, "fails"); n != 0 {
		t.Errorf("the failed handler took effect %d times", n)
	}
	var keys int
	if err := b.pool.QueryRow(t.Context(), `SELECT count(*) FROM idem.processed_events`).Scan(&keys); err != nil || keys != 0 {
		t.Errorf("%d keys are stored, %v", keys, err)
	}
}

// The former owner can do nothing any more, whatever it tries.
func TestFormerOwnerIsFenced(t *testing.T) {
	t.Parallel()
	b := setup(t)
	zombie := acquire(t, b.guard)
	owner := acquire(t, b.guard)
	for name, try := range map[string]func() error{
		"Process": func() error {
			_, err := zombie.Process(t.Context(), idem.Event{ID: "e", Offset: 0}, effect("e"))

			return err
		},
		"Process by the checkpoint": func() error {
			_, err := zombie.Process(t.Context(), idem.Event{ByCheckpoint: true, Offset: 0}, effect("e"))

			return err
		},
		"StoreDeadLetter": func() error {
			_, err := zombie.StoreDeadLetter(t.Context(), idem.DeadLetter{Partition: partition})

			return err
		},
		"Advance": func() error { return zombie.Advance(t.Context(), 1) },
		"Reset":   func() error { return zombie.Reset(t.Context(), 1) },
		"Begin": func() error {
			_, err := zombie.Begin(t.Context(), 1)

			return err
		},
	} {
		if err := try(); !errors.Is(err, idem.ErrFenced) || idem.IsTransient(err) {
			t.Errorf("%s: %v, want ErrFenced", name, err)
		}
	}
	b.wantProcessed(t, "e", false)
	outcome, err := owner.Process(t.Context(), idem.Event{ID: "e", Offset: 0}, effect("e"))
	want(t, "the owner", outcome, err, idem.Processed)
}

// A former owner that is in its handler: its transaction is let finish or is ended, as patience
// has it. Either way the record takes effect once.
func TestTakeOverDuringATransaction(t *testing.T) {
	t.Parallel()
	for name, patience := range map[string]time.Duration{"patient": time.Minute, "impatient": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			zombie := acquire(t, b.guard)
			other := newGuard(t, b.db.Pool(t), idem.Config{Consumer: "orders"})
			type taken struct {
				*idem.Owner
				error
			}
			next := make(chan taken, 1)
			runs := 0
			outcome, err := zombie.Process(t.Context(), idem.Event{ID: "e", Offset: 4}, func(ctx context.Context, tx pgx.Tx) error {
				runs++
				go func() {
					w, err := other.Acquire(ctx, partition, idem.AcquireOptions{Patience: patience})
					next <- taken{w, err}
				}()
				if patience == 0 {
					owner := <-next // It ends this transaction.
					next <- owner
				} else {
					b.waitForLock(t)                                                //nolint:contextcheck // The helper uses the test's.
					if _, err := tx.Exec(ctx, `SELECT pg_sleep(0.3)`); err != nil { // Longer than one attempt to acquire.
						return err
					}
				}

				return effect("e")(ctx, tx)
			})
			owner := <-next
			if owner.error != nil {
				t.Fatal(owner.error)
			}
			if patience == 0 {
				if !errors.Is(err, idem.ErrFenced) || owner.Next() != 0 {
					t.Errorf("the former owner: %v, %v; the new one goes on at %d", outcome, err, owner.Next())
				}
				b.wantProcessed(t, "e", false)
			} else {
				want(t, "the former owner", outcome, err, idem.Processed)
				if owner.Next() != 5 {
					t.Errorf("the new owner goes on at %d, want 5", owner.Next())
				}
			}
			if runs != 1 {
				t.Errorf("the former owner's handler ran %d times", runs)
			}
			outcome, err = owner.Process(t.Context(), idem.Event{ID: "e", Offset: 4}, effect("e"))
			if patience == 0 {
				want(t, "the new owner", outcome, err, idem.Processed)
			} else {
				want(t, "the new owner", outcome, err, idem.AlreadyProcessed)
			}
			b.wantProcessed(t, "e", true)
		})
	}
}

func TestOffsetCommitWithoutAnswer(t *testing.T) {
	t.Parallel()
	for mode, expect := range cutModes {
		t.Run(expect.name, func(t *testing.T) {
			t.Parallel()
			c := setupCut(t, idem.RetryPolicy{})
			w := acquire(t, c.through)
			for offset := range int64(30) {
				id := fmt.Sprint("offset ", offset)
				c.runs.Store(0)
				c.proxy.CutNextCommit(mode)
				outcome, err := w.Process(t.Context(), idem.Event{ByCheckpoint: true, Offset: offset}, c.handler(id))
				want(t, id, outcome, err, idem.Processed)
				if n := c.runs.Load(); n < expect.least || n > expect.most {
					t.Fatalf("%s: the handler ran %d times, want %d to %d", id, n, expect.least, expect.most)
				}
				if n := c.effects(t, id); n != 1 {
					t.Fatalf("%s took effect %d times", id, n)
				}
			}
		})
	}
}

// The COMMIT gets no answer, and before its outcome is looked up somebody takes over: whether it
// landed cannot be told by the checkpoint then, so it must not be guessed.
func TestOffsetCommitWithoutAnswerBeforeATakeOver(t *testing.T) {
	t.Parallel()
	var cut atomic.Bool
	var c *cutCommits
	c = setupCut(t, idem.RetryPolicy{}, pgtest.MaxConns(1), func(config *pgxpool.Config) {
		config.BeforeConnect = func(ctx context.Context, _ *pgx.ConnConfig) error {
			if !cut.Load() {
				return nil
			}
			_, err := c.guard.Acquire(ctx, partition, idem.AcquireOptions{Patience: time.Minute})

			return err
		}
	})
	w := acquire(t, c.through)
	c.proxy.CutNextCommit(pgtest.DropAfterCommit)
	outcome, err := w.Process(t.Context(), idem.Event{ByCheckpoint: true, Offset: 0}, func(ctx context.Context, tx pgx.Tx) error {
		cut.Store(true)

		return c.handler("e")(ctx, tx)
	})
	if outcome != 0 || !errors.Is(err, idem.ErrOutcomeUnknown) || !errors.Is(err, idem.ErrFenced) {
		t.Errorf("%v, %v; want ErrOutcomeUnknown and ErrFenced", outcome, err)
	}
	if n := c.effects(t, "e"); n != 1 {
		t.Errorf("it took effect %d times", n)
	}
}

func TestCheckpointMoves(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, step := range []struct {
		name     string
		move     func(*idem.Owner, context.Context, int64) error
		to, want int64
	}{
		{"forward", (*idem.Owner).Advance, 10, 10},
		{"not back", (*idem.Owner).Advance, 5, 10},
		{"back by a reset", (*idem.Owner).Reset, 3, 3},
		{"forward again", (*idem.Owner).Advance, 4, 4},
	} {
		w := acquire(t, b.guard)
		if err := step.move(w, t.Context(), step.to); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if next := acquire(t, b.guard).Next(); w.Next() != step.want || next != step.want {
			t.Errorf("%s: at %d, and at %d for the next owner; want %d", step.name, w.Next(), next, step.want)
		}
	}
}

// Of owners in a row that begin with one record and do not end, each knows of those before.
func TestBeginCounts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	begin := func(offset int64, wanted int) *idem.Owner {
		t.Helper()
		w := acquire(t, b.guard)
		for range 2 { // The second time as if the answer had been lost.
			if n, err := w.Begin(t.Context(), offset); n != wanted || err != nil {
				t.Errorf("begun with %d: %d times, %v; want %d", offset, n, err, wanted)
			}
		}

		return w
	}
	begin(5, 1)
	begin(5, 2)
	ended := begin(5, 3)
	if err := errors.Join(ended.End(t.Context(), 5), ended.End(t.Context(), 5)); err != nil {
		t.Error(err)
	}
	begin(4, 1) // A duplicate before it.
	begin(5, 3)
	begin(6, 1)
	begin(5, 1)
	begin(6, 2)
}

// Of owners that die before they have decoded what they begin with, each knows that none of them has.
func TestBeginDecodingCounts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	begin := func(offset int64, wanted int, decoded bool) *idem.Owner {
		t.Helper()
		w := acquire(t, b.guard)
		for range 2 { // The second time as if the answer had been lost.
			if n, d, err := w.BeginDecoding(t.Context(), offset); n != wanted || d != decoded || err != nil {
				t.Errorf("begun with %d: %d times, decoded %v, %v; want %d, %v", offset, n, d, err, wanted, decoded)
			}
		}

		return w
	}
	begin(5, 1, false)
	survivor := begin(5, 2, false)
	if n, err := survivor.Begin(t.Context(), 5); n != 2 || err != nil {
		t.Errorf("begun %d times, %v", n, err)
	}
	begin(5, 3, true)
	begin(4, 1, false)
	begin(5, 4, true)
	begin(6, 1, false)
	ended := begin(6, 2, false)
	if err := ended.End(t.Context(), 6); err != nil {
		t.Error(err)
	}
	begin(6, 2, false)
	reset := begin(6, 3, false)
	if _, err := reset.Begin(t.Context(), 6); err != nil {
		t.Error(err)
	}
	if err := reset.Reset(t.Context(), 3); err != nil {
		t.Error(err)
	}
	begin(6, 1, false)
}

func TestRecreatedTopic(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first, second := uuid.New(), uuid.New()
	take := func(id uuid.UUID, recreated bool) *idem.Owner {
		t.Helper()
		w, err := b.guard.Acquire(t.Context(), idem.Partition{Topic: "orders", TopicID: id}, idem.AcquireOptions{Patience: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if w.Recreated() != recreated {
			t.Errorf("%v: recreated is %v", id, w.Recreated())
		}

		return w
	}
	take(uuid.Nil, false)
	if err := take(first, false).Advance(t.Context(), 100); err != nil {
		t.Fatal(err)
	}
	take(first, false)
	take(uuid.Nil, false)
	take(second, true)
	w := take(second, true) // Looking at it changes nothing.
	if err := w.Reset(t.Context(), 0); err != nil || w.Recreated() || w.Next() != 0 {
		t.Error(err, w.Recreated(), w.Next())
	}
	take(second, false)
	take(first, true)
}

// second returns the error of a call that returns two values.
func second[T any](_ T, err error) error { return err }

func TestCheckpointMisuse(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := acquire(t, b.guard)
	for name, try := range map[string]func() error{
		"negative offset": func() error { return second(w.Process(t.Context(), idem.Event{ID: "e", Offset: -1}, effect("e"))) },
		"negative offset of a batch": func() error {
			return second(w.ProcessBatch(t.Context(), []idem.Event{{ID: "e", Offset: -1}}, func(context.Context, pgx.Tx, []idem.Event) error { return nil }))
		},
		"no handler": func() error { return second(w.Process(t.Context(), idem.Event{ID: "e"}, nil)) },
		"nil option": func() error { return second(w.Process(t.Context(), idem.Event{ID: "e"}, effect("e"), nil)) },
		"parked without a key": func() error {
			return second(w.StoreDeadLetter(t.Context(), idem.DeadLetter{State: idem.DeadLetterParked}))
		},
		"no topic": func() error { return second(b.guard.Acquire(t.Context(), idem.Partition{}, idem.AcquireOptions{})) },
		"negative partition": func() error {
			return second(b.guard.Acquire(t.Context(), idem.Partition{Topic: "orders", Number: -1}, idem.AcquireOptions{}))
		},
		"negative patience": func() error {
			return second(b.guard.Acquire(t.Context(), partition, idem.AcquireOptions{Patience: -1}))
		},
		"nil guard": func() error { return second((*idem.Guard)(nil).Acquire(t.Context(), partition, idem.AcquireOptions{})) },
	} {
		if err := try(); !errors.Is(err, idem.ErrInvalidConfig) {
			t.Errorf("%s: %v, want ErrInvalidConfig", name, err)
		}
	}
	b.wantProcessed(t, "e", false)
}

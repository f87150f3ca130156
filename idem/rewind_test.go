package idem_test

import (
	"context"
	"errors"
	"strconv"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
)

// goBack makes the database what it was when the checkpoint stood at next: what a failover to a
// standby without the latest commits does.
func (b *bundle) goBack(t *testing.T, next int) {
	t.Helper()
	b.exec(t, `UPDATE idem.checkpoints SET next_offset = $1`, next)
	b.exec(t, `DELETE FROM public.effects WHERE event_id::int >= $1`, next)
	b.exec(t, `DELETE FROM idem.processed_events WHERE event_id::int >= $1`, next)
}

// The owner runs on while the database loses its latest commits: it must notice at its next
// record, whatever form that takes, and commit nothing.
func TestDatabaseGoesBackUnderAnOwner(t *testing.T) {
	t.Parallel()
	for name, process := range map[string]func(ctx context.Context, o *idem.Owner, offset int) error{
		"single": func(ctx context.Context, o *idem.Owner, offset int) error {
			id := strconv.Itoa(offset)
			_, err := o.Process(ctx, idem.Event{ID: id, Offset: int64(offset)}, effect(id))

			return err
		},
		"without an id": func(ctx context.Context, o *idem.Owner, offset int) error {
			_, err := o.Process(ctx, idem.Event{ByCheckpoint: true, Offset: int64(offset)}, effect(strconv.Itoa(offset)))

			return err
		},
		"batch": func(ctx context.Context, o *idem.Owner, offset int) error {
			id := strconv.Itoa(offset)
			_, err := o.ProcessBatch(ctx, []idem.Event{{ID: id, Offset: int64(offset)}}, func(ctx context.Context, tx pgx.Tx, _ []idem.Event) error { return effect(id)(ctx, tx) })

			return err
		},
		"dead letter": func(ctx context.Context, o *idem.Owner, offset int) error {
			_, err := o.StoreDeadLetter(ctx, idem.DeadLetter{Partition: partition, Offset: int64(offset), EventID: strconv.Itoa(offset), Error: "bad"})

			return err
		},
		"advance": func(ctx context.Context, o *idem.Owner, offset int) error {
			return o.Advance(ctx, int64(offset)+1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			o := acquire(t, b.guard)
			for offset := range 20 {
				if err := process(t.Context(), o, offset); err != nil {
					t.Fatal(err)
				}
			}
			b.goBack(t, 10)
			for range 2 {
				if err := process(t.Context(), o, 20); !errors.Is(err, idem.ErrRewound) || idem.IsTransient(err) {
					t.Fatalf("after the database went back: %v, want ErrRewound", err)
				}
			}
			if n := b.effects(t, "20"); n != 0 {
				t.Errorf("the record behind the gap took effect %d times", n)
			}
			o = acquire(t, b.guard)
			if o.Next() != 10 {
				t.Fatalf("the owner goes on at %d, want 10", o.Next())
			}
			for offset := 10; offset <= 20; offset++ {
				if err := process(t.Context(), o, offset); err != nil {
					t.Fatal(err)
				}
			}
			if o.Next() != 21 {
				t.Errorf("the owner has come to %d, want 21", o.Next())
			}
		})
	}
}

// An owner that does not know yet that its latest commits are lost set the checkpoint behind them, where the log had been truncated: they were
// never made again.
func TestNothingIsSetOverLostCommits(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(ctx context.Context, o *idem.Owner) error{
		"Reset": func(ctx context.Context, o *idem.Owner) error { return o.Reset(ctx, 15) },
		"Lanes": func(ctx context.Context, o *idem.Owner) error {
			_, err := o.Lanes(ctx, 2)

			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			o := acquire(t, b.guard)
			if err := o.Advance(t.Context(), 20); err != nil {
				t.Fatal(err)
			}
			b.goBack(t, 10)
			if err := set(t.Context(), o); !errors.Is(err, idem.ErrRewound) {
				t.Errorf("%v, want ErrRewound", err)
			}
			if o = acquire(t, b.guard); o.Next() != 10 {
				t.Errorf("the next owner goes on at %d, want 10", o.Next())
			}
			if err := set(t.Context(), o); err != nil {
				t.Error(err)
			}
		})
	}
}

// The first try of a Reset loses its connection, the next one succeeds, and the owner goes on. When the server comes to the first one it set the
// checkpoint back over all of that, which was then processed again.
func TestResetThatComesLate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var sent statements
	o := acquire(t, newGuard(t, b.db.Pool(t, func(c *pgxpool.Config) { c.ConnConfig.Tracer = &sent }), idem.Config{Consumer: "orders"}))
	err := errors.Join(o.Advance(t.Context(), 100), o.Reset(t.Context(), 50), o.Advance(t.Context(), 120))
	tries := sent.of("CheckpointReset")
	if err != nil || len(tries) != 1 {
		t.Fatalf("%v, %d statements", err, len(tries))
	}
	var epoch int64
	if err := b.pool.QueryRow(t.Context(), tries[0].SQL, tries[0].Args...).Scan(&epoch); err != nil || epoch != o.Epoch() {
		t.Errorf("a try that comes late: %v, the epoch %d; want %d, that of the one that succeeded", err, epoch, o.Epoch())
	}
	if err := o.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	if next := acquire(t, b.guard).Next(); next != 120 {
		t.Errorf("the checkpoint is %d, want 120", next)
	}
}

// The commit that made this owner the owner is lost too: the row has the token of the one before,
// or is not there at all.
func TestDatabaseGoesBackBehindTheOwner(t *testing.T) {
	t.Parallel()
	b := setup(t)
	o := acquire(t, b.guard)
	b.exec(t, `UPDATE idem.checkpoints SET owner_token = gen_random_uuid()`)
	_, err := o.Process(t.Context(), idem.Event{ID: "0", Offset: 0}, effect("0"))
	if !errors.Is(err, idem.ErrFenced) {
		t.Errorf("another token: %v, want ErrFenced", err)
	}
	b.exec(t, `DELETE FROM idem.checkpoints`)
	_, err = o.Process(t.Context(), idem.Event{ID: "0", Offset: 0}, effect("0"))
	if !errors.Is(err, idem.ErrCheckpointGone) || idem.IsTransient(err) {
		t.Errorf("no row: %v, want ErrCheckpointGone", err)
	}
	b.wantNothing(t)
}

// A partition that has no checkpoint begins where AcquireOptions.Start says; its error leaves no row
// behind, which the next owner would take for a partition that has begun.
func TestStartOfAPartition(t *testing.T) {
	t.Parallel()
	b := setup(t)
	start := func(next int64, err error) idem.AcquireOptions {
		return idem.AcquireOptions{Start: func(context.Context) (int64, error) { return next, err }}
	}
	if _, err := b.guard.Acquire(t.Context(), partition, start(0, errBoom)); !errors.Is(err, errBoom) {
		t.Fatalf("got %v, want the error of Start", err)
	}
	o, err := b.guard.Acquire(t.Context(), partition, start(40, nil))
	if err != nil || o.Next() != 40 || !o.IsNew() {
		t.Fatalf("the first owner: %v, %v", o, err)
	}
	o, err = b.guard.Acquire(t.Context(), partition, start(0, errBoom))
	if err != nil || o.Next() != 40 || o.IsNew() {
		t.Fatalf("the next owner: %v, %v", o, err)
	}
	if err := b.guard.InsertStarts(t.Context(), idem.TopicStarts{Topic: "orders", TopicID: partition.TopicID, Offsets: map[int32]int64{3: 1, 4: 7}}); err != nil {
		t.Fatal(err)
	}
	added := partition
	added.Number = 4
	if o, err = b.guard.Acquire(t.Context(), added, start(99, nil)); err != nil || o.Next() != 99 {
		t.Errorf("a partition that was added to a known topic begins at %v, %v", o.Next(), err)
	}
	mails := idem.TopicStarts{Topic: "mails", TopicID: uuid.New(), Offsets: map[int32]int64{0: 5, 1: 7}}
	if err := b.guard.InsertStarts(t.Context(), mails, idem.TopicStarts{Topic: "orders", Offsets: map[int32]int64{9: 1}}); err != nil {
		t.Fatal(err)
	}
	mail := idem.Partition{Topic: "mails", TopicID: mails.TopicID, Number: 1}
	if got, err := b.guard.Starts(t.Context(), mail, "mails"); got != (idem.Starts{Offset: -1}) || err != nil {
		t.Errorf("beside a topic that is known %+v was noted, %v", got, err)
	}
	if err := b.guard.InsertStarts(t.Context(), mails, idem.TopicStarts{Topic: "letters", Offsets: map[int32]int64{0: 3}}); err != nil {
		t.Fatal(err)
	}
	for p, want := range map[idem.Partition]idem.Starts{
		mail: {Known: true, Noted: true, Offset: 7},
		{Topic: "mails", TopicID: uuid.New(), Number: 1}:    {Known: true, Noted: true, Offset: -1},
		{Topic: "mails", TopicID: mails.TopicID, Number: 2}: {Known: true, Noted: true, Offset: -1},
		{Topic: "letters", TopicID: uuid.New(), Number: 0}:  {Known: true, Noted: true, Offset: 3},
		{Topic: "orders", TopicID: uuid.New(), Number: 3}:   {Known: true, Offset: -1},
		{Topic: "nothing", TopicID: uuid.New(), Number: 0}:  {Offset: -1},
	} {
		if got, err := b.guard.Starts(t.Context(), p, p.Topic); got != want || err != nil {
			t.Errorf("%+v: %+v, %v; want %+v", p, got, err, want)
		}
	}
	o, err = b.guard.Acquire(t.Context(), mail, start(0, errBoom))
	if err != nil || o.Next() != 7 || o.IsNew() {
		t.Errorf("a partition whose start was noted: %v, %v", o, err)
	}
	if got, err := b.guard.Starts(t.Context(), mail, "mails"); got != (idem.Starts{Known: true, Noted: true, Offset: -1}) || err != nil {
		t.Errorf("once it has begun: %+v, %v", got, err)
	}
}

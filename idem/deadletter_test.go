package idem_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// letter is a dead letter that is as hostile as Kafka allows.
func letter(eventID string, offset int64) idem.DeadLetter {
	return idem.DeadLetter{
		Partition: partition, Offset: offset, EventID: eventID,
		Time: time.UnixMilli(1_700_000_000_123), Key: []byte("key\x00\xff"), Value: []byte("value\x00\xff"),
		Headers:  []idem.DeadLetterHeader{{Key: "h\x00\xff", Value: nil}, {Key: "", Value: []byte{}}, {Key: "h", Value: []byte{0}}},
		Attempts: 5, Error: "bad\x00\xff" + strings.Repeat("e", 100_000),
	}
}

// askForReplay does what an operator does.
func (b *bundle) askForReplay(t *testing.T) {
	t.Helper()
	tag, err := b.pool.Exec(t.Context(), `UPDATE idem.dead_letters SET state = 'replay' WHERE state = 'open'`)
	if err != nil || tag.RowsAffected() == 0 {
		t.Fatalf("no dead letter is open, %v", err)
	}
}

func (b *bundle) states(t *testing.T) string {
	t.Helper()
	var states string
	if err := b.pool.QueryRow(t.Context(), `SELECT coalesce(string_agg(state, ' ' ORDER BY record_offset, id), '') FROM idem.dead_letters`).Scan(&states); err != nil {
		t.Fatal(err)
	}

	return states
}

// discard discards the dead letters of an event.
func (b *bundle) discard(t *testing.T, eventID string) {
	t.Helper()
	var id uuid.UUID
	if err := b.pool.QueryRow(t.Context(), `SELECT id::text FROM idem.dead_letters WHERE event_id = $1`, eventID).Scan(&id); err != nil {
		t.Fatal(err)
	}
	if n, err := discard(t.Context(), operator(t, b.pool, "idem"), id); err != nil || n != 1 {
		t.Fatalf("%d were discarded, %v; want %v", n, err, id)
	}
}

func (b *bundle) next(t *testing.T) idem.DeadLetter {
	t.Helper()
	l, err := b.guard.Unfenced(partition).NextDeadLetter(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	return l
}

func (b *bundle) wantNone(t *testing.T) {
	t.Helper()
	if l, err := b.guard.Unfenced(partition).NextDeadLetter(t.Context()); !errors.Is(err, idem.ErrNotFound) {
		t.Errorf("next is %+v, %v; want none", l, err)
	}
}

func TestDeadLetterIsStoredWhole(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := acquire(t, b.guard)
	stored := letter("e", 7)
	outcome, err := w.StoreDeadLetter(t.Context(), stored)
	want(t, "store", outcome, err, idem.Processed)
	outcome, err = w.StoreDeadLetter(t.Context(), stored)
	want(t, "store again", outcome, err, idem.AlreadyProcessed)
	outcome, err = b.guard.ProcessIfNew(t.Context(), "e", effect("e"))
	want(t, "its event", outcome, err, idem.AlreadyProcessed)
	if next := acquire(t, b.guard).Next(); next != 8 {
		t.Errorf("the checkpoint is at %d, want 8", next)
	}
	b.wantNone(t) // It is open.

	b.askForReplay(t)
	got := b.next(t)
	record, err := b.guard.Lookup(t.Context(), "e")
	if err != nil || got.ClaimID != record.ClaimID || got.ID.Version() != 7 || got.State != idem.DeadLetterReplay {
		t.Errorf("letter %+v, claim %+v, %v", got, record, err)
	}
	if !strings.HasPrefix(got.Error, "bad\uFFFD\uFFFDeee") || len(got.Error) > 20_000 || !got.Time.Equal(stored.Time) {
		t.Errorf("error of %d bytes, time %v", len(got.Error), got.Time)
	}
	if got.Starts != 1 || b.next(t).Starts != 2 {
		t.Errorf("its replay has begun %d times, want 1 and then 2", got.Starts)
	}
	if !reflect.DeepEqual([]any{got.Partition, got.Offset, got.Key, got.Value, got.Headers, got.EventID, got.Attempts},
		[]any{stored.Partition, stored.Offset, stored.Key, stored.Value, stored.Headers, stored.EventID, stored.Attempts}) {
		t.Errorf("stored %+v, got %+v", stored, got)
	}
	if err := b.guard.Unfenced(partition).PutBackDeadLetter(t.Context(), got); err != nil || b.next(t).Starts != 2 {
		t.Errorf("%v, or a replay that ended in order counts as one that did not", err)
	}
}

func TestUnresolvedDeadLetters(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other, err := idem.New(b.pool, idem.Config{Consumer: "other"})
	if err != nil {
		t.Fatal(err)
	}
	for g, letters := range map[*idem.Guard]int64{b.guard: 3, other: 1} {
		w := acquire(t, g)
		for offset := range letters {
			if _, err := w.StoreDeadLetter(t.Context(), letter(fmt.Sprint("event-", offset), offset)); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.discard(t, "event-2")
	if n, err := b.guard.UnresolvedDeadLetters(t.Context()); err != nil || n != 2 {
		t.Errorf("%d are unresolved, %v; want 2", n, err)
	}
	if _, err := b.pool.Exec(t.Context(), `INSERT INTO idem.dead_letters (consumer_id, id, key, topic_id, record_partition, record_offset, attempts, topic, error)
		SELECT consumer_id, gen_random_uuid(), md5(n::text)::uuid, topic_id, record_partition, 10 + n, attempts, topic, error
		FROM idem.dead_letters, generate_series(1, 12000) n WHERE event_id = 'event-1'`); err != nil {
		t.Fatal(err)
	}
	if n, err := b.guard.UnresolvedDeadLetters(t.Context()); err != nil || n != idem.MaxDeadLetters {
		t.Errorf("of 12,000 it counts %d, %v; want %d", n, err, idem.MaxDeadLetters)
	}
}

func TestDeadLetterCommitWithoutAnswer(t *testing.T) {
	t.Parallel()
	for mode, expect := range cutModes {
		t.Run(expect.name, func(t *testing.T) {
			t.Parallel()
			c := setupCut(t, idem.RetryPolicy{})
			w := acquire(t, c.through)
			const rounds = 20
			for round := range int64(rounds) {
				c.proxy.CutNextCommit(mode)
				outcome, err := w.StoreDeadLetter(t.Context(), letter(fmt.Sprint("event-", round), round))
				want(t, "store", outcome, err, idem.Processed)
			}
			var letters, marked int
			err := c.pool.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM idem.dead_letters), (SELECT count(*) FROM idem.processed_events)`).Scan(&letters, &marked)
			if err != nil || letters != rounds || marked != rounds {
				t.Errorf("%d dead letters and %d marked events, %v; want %d of each", letters, marked, err, rounds)
			}
		})
	}
}

// A dead letter whose mark was not committed is not there either.
func TestDeadLetterIsStoredWithItsMarkOnly(t *testing.T) {
	t.Parallel()
	c := setupCut(t, idem.RetryPolicy{MaxAttempts: 1})
	w := acquire(t, c.through)
	c.proxy.CutNextCommit(pgtest.DropBeforeCommit)
	if outcome, err := w.StoreDeadLetter(t.Context(), letter("event", 0)); err == nil {
		t.Errorf("store: %v although nothing was committed", outcome)
	}
	var letters, marked int
	err := c.pool.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM idem.dead_letters), (SELECT count(*) FROM idem.processed_events)`).Scan(&letters, &marked)
	if err != nil || letters != 0 || marked != 0 {
		t.Errorf("%d dead letters and %d marked events, %v; want none", letters, marked, err)
	}
}

// Dead letters without an event id are claimed by their place and content, with and without an owner.
func TestDeadLetterWithoutEventID(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := acquire(t, b.guard)
	for i, o := range []*idem.Owner{w, b.guard.Unfenced(partition)} {
		l := letter("", int64(i))
		for _, wanted := range []idem.Outcome{idem.Processed, idem.AlreadyProcessed} {
			outcome, err := o.StoreDeadLetter(t.Context(), l)
			want(t, fmt.Sprint("store ", i), outcome, err, wanted)
		}
		b.askForReplay(t)
		next := b.next(t)
		id := fmt.Sprint("effect ", i)
		outcome, err := b.guard.Unfenced(partition).Replay(t.Context(), next, effect(id))
		want(t, fmt.Sprint("replay ", i), outcome, err, idem.Processed)
		outcome, err = b.guard.Unfenced(partition).Replay(t.Context(), next, effect(id))
		want(t, fmt.Sprint("replay again ", i), outcome, err, idem.AlreadyProcessed)
		if n := b.effects(t, id); n != 1 || next.EventID != "" {
			t.Errorf("%d: it took effect %d times, its event id is %q", i, n, next.EventID)
		}
	}
}

func TestReplay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	outcome, err := b.guard.Unfenced(partition).StoreDeadLetter(t.Context(), letter("e", 0))
	want(t, "store", outcome, err, idem.Processed)
	b.askForReplay(t)
	l := b.next(t)

	_, err = b.guard.Unfenced(partition).Replay(t.Context(), l, func(ctx context.Context, tx pgx.Tx) error {
		return errors.Join(effect("e")(ctx, tx), errBoom)
	})
	var handlerErr *idem.HandlerError
	if !errors.As(err, &handlerErr) || !errors.Is(err, errBoom) || b.states(t) != "replay" {
		t.Errorf("%v, state %s", err, b.states(t))
	}
	if err := b.guard.Unfenced(partition).ReopenDeadLetter(t.Context(), l, 2, err); err != nil {
		t.Error(err)
	}
	outcome, err = b.guard.Unfenced(partition).Replay(t.Context(), l, effect("e"))
	want(t, "nobody wants it any more", outcome, err, idem.AlreadyProcessed)
	b.askForReplay(t)
	if l = b.next(t); l.Attempts != 7 || !strings.Contains(l.Error, "boom") {
		t.Errorf("after a failure: %d attempts, %s", l.Attempts, l.Error)
	}
	outcome, err = b.guard.Unfenced(partition).Replay(t.Context(), l, effect("e"))
	want(t, "replay", outcome, err, idem.Processed)
	b.wantProcessed(t, "e", true)
	if b.states(t) != "replayed" {
		t.Errorf("state %s", b.states(t))
	}
	b.wantNone(t)
}

// A dead letter belongs to its owner's partition, and may stand for several records: the checkpoint is
// advanced over the last one.
func TestDeadLetterOfSeveralRecords(t *testing.T) {
	t.Parallel()
	b := setup(t)
	o := acquire(t, b.guard)
	if err := o.Advance(t.Context(), 6); err != nil { // Into the middle of them.
		t.Fatal(err)
	}
	l := letter("", 4)
	l.LastOffset, l.Partition = 9, idem.Partition{Topic: "another", Number: 1}
	for _, wanted := range []idem.Outcome{idem.Processed, idem.AlreadyProcessed} {
		outcome, err := o.StoreDeadLetter(t.Context(), l)
		want(t, "store", outcome, err, wanted)
	}
	if next := acquire(t, b.guard).Next(); next != 10 {
		t.Errorf("the checkpoint is at %d, want 10", next)
	}
	b.askForReplay(t)
	if l := b.next(t); l.Offset != 4 || l.LastOffset != 0 || l.Partition != partition {
		t.Errorf("stored: %+v", l)
	}
}

// An event that somebody made claimable again and that was then delivered is not replayed.
func TestReplayOfAnEventProcessedSince(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, processedSince := range []bool{true, false} {
		id := fmt.Sprint("processed since: ", processedSince)
		outcome, err := b.guard.Unfenced(partition).StoreDeadLetter(t.Context(), letter(id, 0))
		want(t, "store", outcome, err, idem.Processed)
		if _, err := b.guard.Forget(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		wanted, state := idem.Processed, "replayed"
		if processedSince {
			outcome, err := b.guard.ProcessIfNew(t.Context(), id, effect(id))
			want(t, "delivery", outcome, err, idem.Processed)
			wanted, state = idem.AlreadyProcessed, "superseded"
		}
		b.askForReplay(t)
		outcome, err = b.guard.Unfenced(partition).Replay(t.Context(), b.next(t), effect(id))
		want(t, "replay", outcome, err, wanted)
		b.wantProcessed(t, id, true)
		if !strings.HasSuffix(b.states(t), state) {
			t.Errorf("states %s, want %s", b.states(t), state)
		}
	}
}

func TestReplayCommitWithoutAnswer(t *testing.T) {
	t.Parallel()
	for mode, expect := range cutModes {
		t.Run(expect.name, func(t *testing.T) {
			t.Parallel()
			c := setupCut(t, idem.RetryPolicy{})
			for round := range 20 {
				id := fmt.Sprint("event-", round)
				outcome, err := c.guard.Unfenced(partition).StoreDeadLetter(t.Context(), letter(id, int64(round)))
				want(t, "store", outcome, err, idem.Processed)
				c.askForReplay(t)
				c.proxy.CutNextCommit(mode)
				outcome, err = c.through.Unfenced(partition).Replay(t.Context(), c.next(t), c.handler(id))
				want(t, "replay", outcome, err, idem.Processed)
				c.wantProcessed(t, id, true)
				c.wantNone(t)
			}
		})
	}
}

// Parked dead letters follow the one in front of them one by one; those of other keys do not wait.
func TestParkedDeadLettersKeepTheirOrder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	store := func(key, id string, offset int64, state idem.DeadLetterState) {
		t.Helper()
		l := letter(id, offset)
		l.State = state
		if l.Key = nil; key != "" {
			l.Key = []byte(key)
		}
		outcome, err := b.guard.Unfenced(partition).StoreDeadLetter(t.Context(), l)
		want(t, id, outcome, err, idem.Processed)
	}
	store("a", "a1", 0, idem.DeadLetterOpen)
	store("b", "b1", 1, idem.DeadLetterOpen)
	store("", "none", 2, idem.DeadLetterOpen)
	store("a", "a2", 3, idem.DeadLetterParked)
	store("b", "b2", 4, idem.DeadLetterParked)
	store("a", "a3", 5, idem.DeadLetterParked)
	b.wantNone(t)
	keys, err := b.guard.Unfenced(partition).ParkedKeys(t.Context())
	if err != nil || len(keys) != 2 || !keys.Has([]byte("a")) || !keys.Has([]byte("b")) || keys.Has([]byte("c")) || keys.Has(nil) {
		t.Errorf("parked keys: %v, %v", keys, err)
	}

	b.exec(t, `UPDATE idem.dead_letters SET state = 'replay' WHERE event_id = 'a1'`)
	b.discard(t, "b1")
	for _, id := range []string{"a1", "a2", "b2", "a3"} {
		l := b.next(t)
		if l.EventID != id {
			t.Fatalf("next is %s, want %s", l.EventID, id)
		}
		outcome, err := b.guard.Unfenced(partition).Replay(t.Context(), l, effect(id))
		want(t, id, outcome, err, idem.Processed)
	}
	b.wantNone(t)
	keys, err = b.guard.Unfenced(partition).ParkedKeys(t.Context())
	if err != nil || len(keys) != 0 {
		t.Errorf("parked keys: %v, %v", keys, err)
	}
}

// Dead letters go with their consumer's retention once they are resolved, and not before.
func TestCleanupOfDeadLetters(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const old, young, unresolved = 2500, 3, 2
	outcome, err := b.guard.Unfenced(partition).StoreDeadLetter(t.Context(), letter("e", 0)) // The others are copies of it.
	want(t, "store", outcome, err, idem.Processed)
	b.exec(t, `INSERT INTO idem.dead_letters (id, key, topic_id, record_offset, claim_id, consumer_id, record_partition, attempts, state, topic, error, header_keys, header_values, resolved_at)
		SELECT gen_random_uuid(), key, topic_id, n, claim_id, consumer_id, record_partition, attempts,
			CASE WHEN n <= $1::integer THEN 'discarded' WHEN n <= $2::integer THEN 'replayed' ELSE 'open' END, topic, error, header_keys, header_values,
			CASE WHEN n <= $1 THEN now() - interval '8 days' WHEN n <= $2 THEN now() - interval '6 days' END
		FROM idem.dead_letters, generate_series(1, $3::integer) AS n`, old, old+young, old+young+unresolved-1)
	report, err := b.guard.CleanupOldEvents(t.Context())
	if err != nil || report.DeadLetters != old || !report.Complete {
		t.Errorf("%+v, %v; want %d dead letters removed", report, err, old)
	}
	var left int
	if err := b.pool.QueryRow(t.Context(), `SELECT count(*) FROM idem.dead_letters`).Scan(&left); err != nil || left != young+unresolved {
		t.Errorf("%d dead letters are left, %v; want %d", left, err, young+unresolved)
	}
}

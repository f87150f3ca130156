package idem_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/logbuffer"
)

// keyed is a dead letter of key k.
func keyed(state idem.DeadLetterState, eventID string, offset int64) idem.DeadLetter {
	return idem.DeadLetter{Partition: partition, State: state, Offset: offset, Key: []byte("k"), EventID: eventID, Error: "refused"}
}

// orphans counts the keys whose first unresolved dead letter is parked: nothing ever hands it on.
func (b *bundle) orphans(t *testing.T) (n int) {
	t.Helper()
	err := b.pool.QueryRow(t.Context(), `SELECT count(*) FROM (
		SELECT DISTINCT ON (topic, record_partition, topic_id, key_hash) state FROM idem.dead_letters
		WHERE state IN ('open', 'parked', 'replay') AND key_hash IS NOT NULL
		ORDER BY topic, record_partition, topic_id, key_hash, record_offset, id) f WHERE state = 'parked'`).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}

	return n
}

// The clocks of two owners differ by an hour: the ids of the second are smaller.
func TestOrderOfParkedDeadLettersDoesNotFollowTheirIDs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i, id := range []string{"e0", "e1", "e2", "e3"} {
		state := idem.DeadLetterParked
		if i == 0 {
			state = idem.DeadLetterOpen
		}
		l := keyed(state, id, int64(i))
		l.ID = uuid.MustParse(fmt.Sprintf("0190000%d-0000-7000-8000-000000000000", 9-i))
		outcome, err := b.guard.Unfenced(partition).StoreDeadLetter(t.Context(), l)
		want(t, id, outcome, err, idem.Processed)
	}
	b.askForReplay(t)
	for _, id := range []string{"e0", "e1", "e2", "e3"} {
		l := b.next(t)
		outcome, err := b.guard.Unfenced(partition).Replay(t.Context(), l, effect(id))
		if want(t, id, outcome, err, idem.Processed); l.EventID != id {
			t.Fatalf("next was %s, want %s", l.EventID, id)
		}
	}
}

// A topic that was deleted and created again has a log of its own, with smaller offsets.
func TestRecordsOfARecreatedTopicDoNotWaitForTheFormerOnes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	outcome, err := b.guard.Unfenced(partition).StoreDeadLetter(t.Context(), keyed(idem.DeadLetterOpen, "former", 7))
	want(t, "store", outcome, err, idem.Processed)
	again := partition
	again.TopicID = uuid.New()
	for _, offset := range []int64{3, 9} {
		l := keyed(idem.DeadLetterParked, fmt.Sprint("new ", offset), offset)
		if _, err := b.guard.Unfenced(again).StoreDeadLetter(t.Context(), l); !errors.Is(err, idem.ErrNotParked) {
			t.Errorf("offset %d: %v, want ErrNotParked", offset, err)
		}
	}
	if keys, err := b.guard.Unfenced(again).ParkedKeys(t.Context()); err != nil || len(keys) != 0 {
		t.Errorf("parked keys of the new topic: %v, %v", keys, err)
	}
	if _, err := b.guard.Unfenced(partition).StoreDeadLetter(t.Context(), keyed(idem.DeadLetterParked, "before", 6)); !errors.Is(err, idem.ErrNotParked) {
		t.Errorf("a record in front of the dead letter: %v, want ErrNotParked", err)
	}
}

// While a record is being parked, the dead letter in front of it is discarded: it waits, and hands the
// record on.
func TestDiscardWhileARecordIsParkedBehind(t *testing.T) {
	t.Parallel()
	b := setup(t)
	outcome, err := b.guard.Unfenced(partition).StoreDeadLetter(t.Context(), keyed(idem.DeadLetterOpen, "head", 0))
	want(t, "store", outcome, err, idem.Processed)
	b.exec(t, `CREATE FUNCTION public.dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END $$`)
	b.exec(t, `CREATE TRIGGER dawdle AFTER INSERT ON idem.dead_letters FOR EACH ROW EXECUTE FUNCTION public.dawdle()`)
	tx, err := b.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `SELECT pg_advisory_xact_lock(1)`); err != nil {
		t.Fatal(err)
	}
	var working sync.WaitGroup
	working.Go(func() {
		outcome, err := b.guard.Unfenced(partition).StoreDeadLetter(t.Context(), keyed(idem.DeadLetterParked, "parked", 1))
		if outcome != idem.Processed {
			t.Errorf("park: %v, %v", outcome, err)
		}
	})
	b.waitForLock(t)
	var discarded atomic.Bool
	working.Go(func() {
		b.discard(t, "head")
		discarded.Store(true)
	})
	const waiting = `SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity WHERE datname = pg_catalog.current_database() AND wait_event_type = 'Lock'`
	for waiters := 0; waiters < 2 && !discarded.Load(); {
		if err := b.pool.QueryRow(t.Context(), waiting).Scan(&waiters); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	working.Wait()
	if got := b.states(t); got != "discarded replay" {
		t.Errorf("states %s: nobody hands the parked record on", got)
	}
}

// While a dead letter is being processed, a record is parked behind it: it waits, and finds that there
// is nothing to be parked behind.
func TestRecordIsParkedWhileTheHeadIsProcessed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	l := b.storedForReplay(t, keyed(idem.DeadLetterOpen, "head", 0))
	parked := make(chan error, 1)
	outcome, err := b.guard.Unfenced(partition).Replay(t.Context(), l, func(ctx context.Context, _ pgx.Tx) error {
		go func() {
			_, err := b.guard.Unfenced(partition).StoreDeadLetter(ctx, keyed(idem.DeadLetterParked, "parked", 1))
			parked <- err
		}()
		b.waitForLock(t) //nolint:contextcheck // The helper uses the test's.

		return nil
	})
	want(t, "replay", outcome, err, idem.Processed)
	if err := <-parked; !errors.Is(err, idem.ErrNotParked) {
		t.Errorf("%v, want ErrNotParked", err)
	}
	if processed, err := b.guard.IsProcessed(t.Context(), "parked"); err != nil || processed {
		t.Errorf("the record that is not parked is marked: %v, %v", processed, err)
	}
}

// Whoever stores, replays and discards at the same time, in whatever isolation: no parked dead letter
// is left behind, and the records of a key that take effect do so in their order.
func TestNoParkedDeadLetterIsOrphaned(t *testing.T) {
	t.Parallel()
	for _, isolation := range []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable} {
		t.Run(string(isolation), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			var log logbuffer.Buffer
			guard := newGuard(t, b.pool, idem.Config{
				Consumer: "orders", Isolation: isolation, Retry: idem.RetryPolicy{MaxAttempts: idem.Unlimited, InitialBackoff: 1},
				Logger: slog.New(slog.NewTextHandler(&log, nil)),
			})
			const records = 150
			var working, storing sync.WaitGroup
			stored := make(chan struct{})
			storing.Go(func() {
				for offset := range int64(records) {
					id := strconv.FormatInt(offset, 10)
					outcome, err := guard.Unfenced(partition).StoreDeadLetter(t.Context(), keyed(idem.DeadLetterParked, id, offset))
					if errors.Is(err, idem.ErrNotParked) { // As a consumer would process it, and fail.
						outcome, err = guard.Unfenced(partition).StoreDeadLetter(t.Context(), keyed(idem.DeadLetterOpen, id, offset))
					}
					if err != nil || outcome != idem.Processed {
						t.Errorf("store %s: %v, %v", id, outcome, err)
					}
				}
			})
			ended := func() bool {
				select {
				case <-stored:
					return true
				default:
					return false
				}
			}
			client := operator(t, guard.Pool(), "idem")
			for range 3 {
				working.Go(func() { // An operator.
					for !ended() {
						ids := b.ids(t, `state IN ('open', 'parked') ORDER BY random() LIMIT 2`)
						if _, err := discard(t.Context(), client, ids...); err != nil {
							t.Errorf("discard: %v", err)
						}
						if rand.N(2) == 0 {
							b.exec(t, `UPDATE idem.dead_letters SET state = 'replay' WHERE state = 'open'`)
						}
					}
				})
			}
			working.Go(func() { // The owner.
				for !ended() {
					l, err := guard.Unfenced(partition).NextDeadLetter(t.Context())
					if err == nil {
						_, err = guard.Unfenced(partition).Replay(t.Context(), l, effect(l.EventID))
					}
					if err != nil && !errors.Is(err, idem.ErrNotFound) {
						t.Errorf("replay: %v", err)
					}
				}
			})
			storing.Wait()
			close(stored)
			working.Wait()
			if n := b.orphans(t); n != 0 {
				t.Errorf("%d keys have a parked dead letter that nothing hands on: %s", n, b.states(t))
			}
			if n := strings.Count(log.String(), "40P01"); n != 0 {
				t.Errorf("%d deadlocks", n)
			}
		})
	}
}

func (b *bundle) ids(t *testing.T, where string) []uuid.UUID {
	t.Helper()
	rows, err := b.pool.Query(t.Context(), `SELECT id FROM idem.dead_letters WHERE `+where)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		t.Fatal(err)
	}

	return ids
}

package idem_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
)

// poisoned is a batch handler that writes its events down and fails if one of them is poison.
// With point it says which.
type poisoned struct {
	poison map[string]bool
	point  bool
	runs   int
}

func (p *poisoned) handle(ctx context.Context, tx pgx.Tx, fresh []idem.Event) error {
	p.runs++
	ids := make([]string, len(fresh))
	for i, e := range fresh {
		ids[i] = e.ID
		if data, ok := e.Data.(string); ok {
			ids[i] = data
		}
	}
	if _, err := tx.Exec(ctx, `INSERT INTO public.effects SELECT pg_catalog.unnest($1::text[])`, ids); err != nil {
		return err
	}
	for i, id := range ids {
		switch {
		case p.poison[id] && p.point:
			return &idem.EventError{Index: i, Err: errBoom}
		case p.poison[id]:
			return errBoom
		}
	}

	return nil
}

func batchOf(ids ...string) []idem.Event {
	events := make([]idem.Event, len(ids))
	for i, id := range ids {
		events[i] = idem.Event{ID: id, Offset: int64(i), Data: id}
	}

	return events
}

// outcomes are the results in short: P processed, A already processed, E an error, - not tried.
func outcomes(results []idem.BatchResult) string {
	var s strings.Builder
	for _, r := range results {
		switch {
		case r.Err != nil:
			s.WriteByte('E')
		default:
			s.WriteByte("-PA"[r.Outcome])
		}
	}

	return s.String()
}

func (b *bundle) allEffects(t *testing.T) []string {
	t.Helper()
	rows, err := b.pool.Query(t.Context(), `SELECT event_id FROM public.effects ORDER BY ctid`)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}

	return ids
}

func TestProcessBatch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if _, err := b.guard.MarkProcessed(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	var handler poisoned
	results, err := b.guard.ProcessBatch(t.Context(), batchOf("c", "b", "a", "c", "d"), handler.handle)
	if err != nil || outcomes(results) != "PAPAP" {
		t.Errorf("%s, %v", outcomes(results), err)
	}
	if got := b.allEffects(t); !slices.Equal(got, []string{"c", "a", "d"}) || handler.runs != 1 {
		t.Errorf("effects %v in %d runs", got, handler.runs)
	}
	results, err = b.guard.ProcessBatch(t.Context(), batchOf("d", "c"), handler.handle)
	if err != nil || outcomes(results) != "AA" || handler.runs != 1 {
		t.Errorf("again: %s, %v, %d runs", outcomes(results), err, handler.runs)
	}
	results, err = b.guard.ProcessBatch(t.Context(), nil, handler.handle)
	if err != nil || len(results) != 0 {
		t.Errorf("empty: %v, %v", results, err)
	}
	results, err = b.guard.ProcessBatch(t.Context(), batchOf("x", "", "y", "z\x00"), handler.handle)
	if err != nil || outcomes(results) != "PEPE" || !errors.Is(results[1].Err, idem.ErrInvalidEventID) {
		t.Errorf("invalid ids: %s, %v", outcomes(results), err)
	}
	events := batchOf("k", "l", "m")
	events[1].Metadata = &idem.Metadata{User: []byte("{")}
	results, err = b.guard.ProcessBatch(t.Context(), events, handler.handle)
	if err != nil || outcomes(results) != "PEP" || !errors.Is(results[1].Err, idem.ErrInvalidMetadata) {
		t.Errorf("invalid metadata: %s, %v", outcomes(results), err)
	}
}

// Wherever poison stands in a batch, be it one event or ten and whether or not processes die on the way,
// each has its error and all others take effect once.
func TestPoisonAtEveryPosition(t *testing.T) {
	t.Parallel()
	for _, poisons := range []int{1, 2, 10} {
		for _, point := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d, named: %v", poisons, point), func(t *testing.T) {
				t.Parallel()
				poisonEverywhere(t, poisons, point)
			})
		}
	}
}

// poisonEverywhere processes batches in which, together, each position has poison once.
func poisonEverywhere(t *testing.T, poisons int, point bool) {
	t.Helper()
	const size = 500
	b := setup(t)
	random := rand.New(rand.NewPCG(uint64(poisons), 0))
	n := 0
	for positions := range slices.Chunk(random.Perm(size), poisons) {
		n++
		ids, want := make([]string, size), bytes.Repeat([]byte("P"), size)
		for i := range ids {
			ids[i] = fmt.Sprint(n, " ", i)
		}
		handler := poisoned{poison: map[string]bool{}, point: point}
		for _, position := range positions {
			handler.poison[ids[position]], want[position] = true, 'E'
		}
		deaths := random.IntN(3)
		first := deaths == 0
		process := func(ctx context.Context, tx pgx.Tx, fresh []idem.Event) error {
			err := handler.handle(ctx, tx, fresh)
			if deaths > 0 && random.IntN(4) == 0 {
				deaths--
				panic(errBoom)
			}

			return err
		}
		results, crashed := []idem.BatchResult(nil), true
		for crashed { // All is delivered again.
			var err error
			results, crashed, err = protect(func() ([]idem.BatchResult, error) {
				return b.guard.ProcessBatch(t.Context(), batchOf(ids...), process)
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		got := outcomes(results)
		if !first {
			got = strings.ReplaceAll(got, "A", "P") // What was committed before somebody died.
		}
		if got != string(want) {
			t.Fatalf("poison at %v:\n%s, want\n%s", positions, got, want)
		}
		if limit := map[bool]int{false: 22, true: 5}[point]; first && poisons == 1 && handler.runs > limit {
			t.Errorf("poison at %v: %d runs of the handler, want at most %d", positions, handler.runs, limit)
		}
	}
	var effects, events int
	err := b.pool.QueryRow(t.Context(), `SELECT count(*), count(DISTINCT event_id) FROM public.effects`).Scan(&effects, &events)
	if want := n*size - size; err != nil || effects != want || events != want {
		t.Errorf("%d effects of %d events, %v; want %d", effects, events, err, want)
	}
}

// Random batches, with duplicates, poison and crashes, leave the tables as the same events do one
// by one.
func TestBatchesAreAsOneByOne(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 0))
			ids := make([]string, 300)
			handler := poisoned{poison: map[string]bool{}, point: seed%2 == 0}
			for i := range ids {
				ids[i] = fmt.Sprint("event-", random.IntN(200))
			}
			for range []int{0, 1, 2, 10}[seed%4] {
				handler.poison[ids[random.IntN(len(ids))]] = true
			}
			single, batched := setup(t), setup(t)
			var want strings.Builder
			for _, id := range ids {
				outcome, err := single.guard.ProcessIfNew(t.Context(), id, func(ctx context.Context, tx pgx.Tx) error {
					one := handler

					return one.handle(ctx, tx, batchOf(id))
				})
				want.WriteString(outcomes([]idem.BatchResult{{Outcome: outcome, Err: err}}))
			}

			at := seed%3 == 0 // With a checkpoint.
			var got strings.Builder
			events := batchOf(ids...)
			var w *idem.Owner
			for len(events) > 0 {
				if w == nil || random.IntN(5) == 0 {
					w = acquire(t, batched.guard)
				}
				part := events[:min(len(events), 1+random.IntN(60))]
				crash := random.IntN(4) == 0
				process := func(ctx context.Context, tx pgx.Tx, fresh []idem.Event) error {
					err := handler.handle(ctx, tx, fresh)
					if crash && random.IntN(3) == 0 {
						panic(errBoom)
					}

					return err
				}
				results, crashed, err := protect(func() ([]idem.BatchResult, error) {
					if at {
						return w.ProcessBatch(t.Context(), part, process)
					}

					return batched.guard.ProcessBatch(t.Context(), part, process)
				})
				if err != nil {
					t.Fatal(err)
				}
				if crashed {
					continue // All is delivered again; what was committed is known.
				}
				done := strings.TrimRight(outcomes(results), "-")
				got.WriteString(done)
				events = events[len(done):]
			}
			if a, b := single.allEffects(t), batched.allEffects(t); !slices.Equal(a, b) {
				t.Errorf("one by one %d effects, in batches %d:\n%v\n%v", len(a), len(b), a, b)
			}
			// What a crashed call had committed comes back as processed already.
			if a, b := want.String(), got.String(); strings.Count(a, "E") != strings.Count(b, "E") || len(a) != len(b) {
				t.Errorf("one by one %s\nin batches %s", a, b)
			}
		})
	}
}

// protect reports whether the call's handler panicked with errBoom.
func protect(call func() ([]idem.BatchResult, error)) (results []idem.BatchResult, crashed bool, err error) {
	defer func() {
		if r := recover(); r != nil {
			if r != any(errBoom) {
				panic(r)
			}
			crashed = true
		}
	}()
	results, err = call()

	return results, false, err
}

func TestOwnerProcessBatch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := acquire(t, b.guard)
	handler := poisoned{poison: map[string]bool{"c": true}}
	events := batchOf("a", "b", "c", "d", "a")
	events[1].ByCheckpoint = true
	results, err := w.ProcessBatch(t.Context(), events, handler.handle)
	if err != nil || outcomes(results) != "PPE--" {
		t.Errorf("%s, %v", outcomes(results), err)
	}
	if next := acquire(t, b.guard).Next(); next != 2 || w.Next() != 2 {
		t.Errorf("the checkpoint is at %d, for its owner at %d, want 2, before the poison", next, w.Next())
	}
	if _, err := w.ProcessBatch(t.Context(), events[2:], handler.handle); !errors.Is(err, idem.ErrFenced) {
		t.Errorf("former owner: %v", err)
	}
	w = acquire(t, b.guard)
	handler.poison = nil
	if results, err := w.ProcessBatch(t.Context(), nil, handler.handle); len(results) > 0 || err != nil {
		t.Errorf("no events: %v, %v", results, err)
	}
	results, err = w.ProcessBatch(t.Context(), events, handler.handle) // From the start: it knows.
	if err != nil || outcomes(results) != "AAPPA" {
		t.Errorf("%s, %v", outcomes(results), err)
	}
	if next := acquire(t, b.guard).Next(); next != 5 {
		t.Errorf("the checkpoint is at %d, want 5", next)
	}
	if got := b.allEffects(t); !slices.Equal(got, []string{"a", "b", "c", "d"}) {
		t.Errorf("effects %v", got)
	}
	slices.Reverse(events)
	if _, err := w.ProcessBatch(t.Context(), events, handler.handle); !errors.Is(err, idem.ErrInvalidConfig) {
		t.Errorf("in disorder: %v", err)
	}
}

func TestBatchCommitWithoutAnswer(t *testing.T) {
	t.Parallel()
	for mode, expect := range cutModes {
		t.Run(expect.name, func(t *testing.T) {
			t.Parallel()
			c := setupCut(t, idem.RetryPolicy{})
			w := acquire(t, c.through)
			for round := range int64(30) {
				var handler poisoned
				events := batchOf(fmt.Sprint("a", round), fmt.Sprint("b", round))
				for i := range events {
					events[i].Offset += 2 * round
					if round%3 == 0 {
						events[i].ByCheckpoint = true
					}
				}
				c.proxy.CutNextCommit(mode)
				results, err := w.ProcessBatch(t.Context(), events, handler.handle)
				if err != nil || outcomes(results) != "PP" {
					t.Fatalf("round %d: %s, %v", round, outcomes(results), err)
				}
				if n := int32(handler.runs); n < expect.least || n > expect.most {
					t.Fatalf("round %d: the handler ran %d times, want %d to %d", round, n, expect.least, expect.most)
				}
			}
			if n := len(c.allEffects(t)); n != 60 {
				t.Errorf("%d effects, want 60", n)
			}
		})
	}
}

func TestBatchMisuse(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var handler poisoned
	for name, try := range map[string]func() error{
		"no handler": func() error { return second(b.guard.ProcessBatch(t.Context(), batchOf("a"), nil)) },
		"nil option": func() error { return second(b.guard.ProcessBatch(t.Context(), batchOf("a"), handler.handle, nil)) },
		"no owner": func() error {
			return second((*idem.Owner)(nil).ProcessBatch(t.Context(), batchOf("a"), handler.handle))
		},
		"disorder": func() error {
			return second(b.guard.Unfenced(partition).ProcessBatch(t.Context(), []idem.Event{{ID: "a"}, {ID: "b"}}, handler.handle))
		},
		"nil guard": func() error {
			return second((*idem.Guard)(nil).ProcessBatch(t.Context(), batchOf("a"), handler.handle))
		},
	} {
		if err := try(); !errors.Is(err, idem.ErrInvalidConfig) {
			t.Errorf("%s: %v, want ErrInvalidConfig", name, err)
		}
	}
}

// A batch handler that sorts, cuts and overwrites what it is given changes nothing for the others.
func TestBatchHandlerOwnsItsEvents(t *testing.T) {
	t.Parallel()
	s := setup(t)
	events := batchOf("a", "b", "c", "bad", "d", "e", "f")
	owner := acquire(t, s.guard)
	handler := poisoned{poison: map[string]bool{"bad": true}}
	results, err := owner.ProcessBatch(t.Context(), events, func(ctx context.Context, tx pgx.Tx, fresh []idem.Event) error {
		err := handler.handle(ctx, tx, fresh)
		slices.Reverse(fresh)
		clear(fresh[:len(fresh)/2])
		_ = append(fresh[:0], idem.Event{ID: "spoiled", Offset: 99})

		return err
	})
	if got := outcomes(results); got != "PPPE---" || err != nil {
		t.Errorf("outcomes %s, %v", got, err)
	}
	if owner.Next() != 3 || events[0].ID != "a" || events[6].ID != "f" {
		t.Errorf("the checkpoint is at %d; events %v", owner.Next(), events)
	}
}

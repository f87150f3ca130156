package idem_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
)

// An event that comes with the id of another one is no duplicate like any other: it is told, in each
// way in which events are claimed, and takes no effect.
func TestCollisionIsTold(t *testing.T) {
	t.Parallel()
	first, second := idem.FingerprintOf([]byte("first")), idem.FingerprintOf([]byte("second"))
	for name, process := range map[string]func(ctx context.Context, t *testing.T, b *bundle, f idem.Fingerprint) (idem.Outcome, error){
		"ProcessIfNew": func(ctx context.Context, _ *testing.T, b *bundle, f idem.Fingerprint) (idem.Outcome, error) {
			return b.guard.ProcessIfNew(ctx, "e", effect("e"), idem.WithFingerprint(f))
		},
		"ExecIfNew": func(ctx context.Context, _ *testing.T, b *bundle, f idem.Fingerprint) (idem.Outcome, error) {
			return b.guard.ExecIfNew(ctx, "e", func(batch *pgx.Batch) error {
				batch.Queue(`INSERT INTO public.effects VALUES ('e')`)

				return nil
			}, idem.WithFingerprint(f))
		},
		"ClaimTx": func(ctx context.Context, t *testing.T, b *bundle, f idem.Fingerprint) (outcome idem.Outcome, err error) {
			t.Helper()
			err = pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error {
				claim, err := b.guard.ClaimTx(ctx, tx, "e", idem.WithFingerprint(f))
				outcome = idem.AlreadyProcessed
				if err == nil && claim.New {
					outcome = idem.Processed

					return effect("e")(ctx, tx)
				}

				return err
			})
			if err != nil {
				outcome = 0
			}

			return outcome, err
		},
		"at a checkpoint": func(ctx context.Context, t *testing.T, b *bundle, f idem.Fingerprint) (idem.Outcome, error) {
			t.Helper()
			o := acquire(t, b.guard) //nolint:contextcheck // The helper uses the test's.

			return o.Process(ctx, idem.Event{ID: "e", Offset: o.Next(), Fingerprint: f}, effect("e"))
		},
		"ProcessBatch": func(ctx context.Context, t *testing.T, b *bundle, f idem.Fingerprint) (idem.Outcome, error) {
			t.Helper()
			results, err := b.guard.ProcessBatch(ctx, []idem.Event{{ID: "e", Fingerprint: f}}, func(ctx context.Context, tx pgx.Tx, _ []idem.Event) error {
				return effect("e")(ctx, tx)
			})
			if err != nil {
				t.Fatal(err)
			}

			return results[0].Outcome, results[0].Err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			for i, f := range []idem.Fingerprint{first, first, 0, second} {
				outcome, err := process(t.Context(), t, b, f)
				switch i {
				case 0:
					want(t, "first", outcome, err, idem.Processed)
				case 1, 2:
					want(t, "the same, or one that is not known", outcome, err, idem.AlreadyProcessed)
				default:
					var collision *idem.CollisionError
					if outcome != 0 || !errors.As(err, &collision) || collision.Processed != first || collision.Fingerprint != second ||
						collision.EventID != "e" || collision.ProcessedAt.IsZero() || idem.IsTransient(err) || strings.Contains(err.Error(), "%!") {
						t.Errorf("another payload: %v, %v", outcome, err)
					}
				}
			}
			b.wantProcessed(t, "e", true)
		})
	}
}

// In a batch the others take effect. Two events of a batch can collide, too.
func TestCollisionsInABatch(t *testing.T) {
	t.Parallel()
	for _, at := range []bool{false, true} {
		b := setup(t)
		outcome, err := b.guard.ProcessIfNew(t.Context(), "3", effect("3"), idem.WithFingerprint(7))
		want(t, "before", outcome, err, idem.Processed)
		var events []idem.Event
		for i, id := range []string{"0", "1", "2", "3", "4", "1", "5", "2", "6"} {
			events = append(events, idem.Event{ID: id, Offset: int64(i), Fingerprint: 1})
		}
		events[5].Fingerprint = 2 // "1" again, with another payload; "2" comes again with the same.
		handle := func(ctx context.Context, tx pgx.Tx, fresh []idem.Event) error {
			for _, e := range fresh {
				if err := effect(e.ID)(ctx, tx); err != nil {
					return err
				}
			}

			return nil
		}
		var got []string
		owner := (*idem.Owner)(nil)
		if at {
			owner = acquire(t, b.guard)
		}
		for len(events) > 0 {
			var results []idem.BatchResult
			if at {
				results, err = owner.ProcessBatch(t.Context(), events, handle)
			} else {
				results, err = b.guard.ProcessBatch(t.Context(), events, handle)
			}
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, r := range results {
				var collision *idem.CollisionError
				if r.Outcome == 0 && r.Err == nil {
					break
				}
				if errors.As(r.Err, &collision) {
					got = append(got, "collision")
				} else {
					got = append(got, r.Outcome.String())
				}
				n++
			}
			events = events[n:]
		}
		if want := "[" + strings.Repeat("processed ", 3) + "collision processed collision processed already processed processed]"; fmt.Sprint(got) != want {
			t.Errorf("with a checkpoint %v: %v, want %v", at, got, want)
		}
		for id := range 7 {
			if n := b.effects(t, strconv.Itoa(id)); n != 1 {
				t.Errorf("%d took effect %d times", id, n)
			}
		}
	}
}

func TestFingerprint(t *testing.T) {
	t.Parallel()
	if a, b := idem.FingerprintOf(nil), idem.FingerprintOf([]byte{}); a != b || a <= 0 || a == idem.FingerprintOf([]byte("a")) {
		t.Errorf("%v, %v", a, b)
	}
}

// The mark of a dead letter has a fingerprint, too: the event came with another payload, whether it is processed or stored.
func TestCollisionWithADeadLetter(t *testing.T) {
	t.Parallel()
	b := setup(t)
	o := acquire(t, b.guard)
	stored, other := letter("e", 0), letter("e", 1)
	stored.Fingerprint, other.Fingerprint = idem.FingerprintOf([]byte("first")), idem.FingerprintOf([]byte("second"))
	outcome, err := o.StoreDeadLetter(t.Context(), stored)
	want(t, "the first", outcome, err, idem.Processed)
	_, processErr := o.Process(t.Context(), idem.Event{ID: "e", Offset: 1, Fingerprint: other.Fingerprint}, effect("e"))
	_, storeErr := o.StoreDeadLetter(t.Context(), other)
	for _, err := range []error{processErr, storeErr} {
		if collision := new(*idem.CollisionError); !errors.As(err, collision) {
			t.Errorf("the second: %v", err)
		}
	}
}

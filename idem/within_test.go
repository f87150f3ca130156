package idem_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
)

// A handler that claims its own event again is told. In its transaction it found the event processed, skipped its work, and the event
// was committed without it; in another one it waited for itself.
func TestEventClaimedInItsHandler(t *testing.T) {
	t.Parallel()
	b := setup(t)
	same := newGuard(t, b.pool, idem.Config{Consumer: "orders"})
	another := newGuard(t, b.pool, idem.Config{Consumer: "mails"})
	nothing := func(context.Context, pgx.Tx) error { return nil }
	processed := func(g *idem.Guard) func(ctx context.Context, _ pgx.Tx, id string) error {
		return func(ctx context.Context, _ pgx.Tx, id string) error {
			_, err := g.ProcessIfNew(ctx, id, nothing)

			return err
		}
	}
	again := map[string]func(ctx context.Context, tx pgx.Tx, id string) error{
		"ClaimTx": func(ctx context.Context, tx pgx.Tx, id string) error {
			_, err := same.ClaimTx(ctx, tx, id)

			return err
		},
		"ProcessIfNew": processed(same),
		"ExecIfNew": func(ctx context.Context, _ pgx.Tx, id string) error {
			_, err := same.ExecIfNew(ctx, id, func(*pgx.Batch) error { return nil })

			return err
		},
		"MarkProcessed": func(ctx context.Context, _ pgx.Tx, id string) error {
			_, err := same.MarkProcessed(ctx, id)

			return err
		},
		"ProcessBatch": func(ctx context.Context, _ pgx.Tx, id string) error {
			_, err := same.ProcessBatch(ctx, batchOf("new", id), func(context.Context, pgx.Tx, []idem.Event) error { return nil })

			return err
		},
		"MarkAllProcessed": func(ctx context.Context, _ pgx.Tx, id string) error {
			_, err := same.MarkAllProcessed(ctx, []string{"new", id})

			return err
		},
		"Resolve": func(ctx context.Context, _ pgx.Tx, id string) error {
			_, err := same.Resolve(ctx, idem.Claim{EventID: id})

			return err
		},
		"in another's handler": func(ctx context.Context, tx pgx.Tx, id string) error {
			_, err := another.ProcessIfNew(ctx, "inner", func(ctx context.Context, _ pgx.Tx) error {
				_, err := same.ClaimTx(ctx, tx, id)

				return err
			})

			return err
		},
	}
	for name, claim := range again {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			single, first, second := name, name+" 1", name+" 2"
			_, err := b.guard.ProcessIfNew(t.Context(), single, func(ctx context.Context, tx pgx.Tx) error { return claim(ctx, tx, single) })
			if !errors.Is(err, idem.ErrInvalidConfig) {
				t.Errorf("got %v", err)
			}
			outcome, err := b.guard.MarkProcessed(t.Context(), single)
			want(t, "nothing was committed", outcome, err, idem.Processed)

			outcome, err = b.guard.MarkProcessed(t.Context(), first)
			want(t, "the first of a batch", outcome, err, idem.Processed)
			results, err := b.guard.ProcessBatch(t.Context(), batchOf(first, second), func(ctx context.Context, tx pgx.Tx, _ []idem.Event) error { return claim(ctx, tx, second) })
			if err != nil || !errors.Is(results[1].Err, idem.ErrInvalidConfig) {
				t.Errorf("a batch: got %v, %v", results, err)
			}
		})
	}
}

// A handler claims other events, and those of another consumer, in its transaction and in others; what follows a call is in no
// handler.
func TestOtherEventsInAHandler(t *testing.T) {
	t.Parallel()
	b := setup(t)
	another := newGuard(t, b.pool, idem.Config{Consumer: "mails"})
	outcome, err := b.guard.ProcessIfNew(t.Context(), "e", func(ctx context.Context, tx pgx.Tx) error {
		for _, guard := range []*idem.Guard{b.guard, another} {
			claim, err := guard.ClaimTx(ctx, tx, "other")
			if err != nil || !claim.New {
				t.Errorf("another event: %v, %v", claim, err)
			}
		}
		if claim, err := another.ClaimTx(ctx, tx, "e"); err != nil || !claim.New {
			t.Errorf("another consumer: %v, %v", claim, err)
		}
		outcome, err := b.guard.ProcessIfNew(ctx, "third", func(context.Context, pgx.Tx) error { return nil })
		want(t, "another transaction", outcome, err, idem.Processed)

		return nil
	})
	want(t, "the event", outcome, err, idem.Processed)
	outcome, err = b.guard.ProcessIfNew(t.Context(), "e", func(context.Context, pgx.Tx) error { return nil })
	want(t, "the event, afterwards", outcome, err, idem.AlreadyProcessed)

	var kept context.Context
	_, err = b.guard.ProcessIfNew(t.Context(), "fails", func(ctx context.Context, _ pgx.Tx) error {
		kept = context.WithoutCancel(ctx) //nolint:fatcontext // As goroutines do that a handler has begun.

		return errBoom
	})
	if !errors.Is(err, errBoom) {
		t.Error(err)
	}
	outcome, err = b.guard.MarkProcessed(kept, "fails")
	want(t, "when the handler has ended", outcome, err, idem.Processed)

	results, err := b.guard.ProcessBatch(t.Context(), batchOf("e", "f"), func(ctx context.Context, tx pgx.Tx, _ []idem.Event) error {
		claim, err := b.guard.ClaimTx(ctx, tx, "e") // It is no event of this handler.
		if claim.New {
			t.Error("an event that was processed is new")
		}

		return err
	})
	if err != nil || results[1].Outcome != idem.Processed {
		t.Errorf("a batch: got %v, %v", results, err)
	}
}

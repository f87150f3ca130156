package ormtest_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/idemsql/ormtest/ent"
)

// To update one row ent begins a transaction. It is that of the guard, so that what was written in it comes and goes with the claim, and
// the handler can begin no other.
func TestEntUpdatesInTheTransactionOfTheGuard(t *testing.T) {
	t.Parallel()
	eachOf(t, []string{"ent", "ent pq"}, func(t *testing.T, b *bundle) {
		b.exec(t, `ALTER TABLE public.effects ADD PRIMARY KEY (event_id), ADD note text`)
		library, ok := b.library.(entLibrary)
		if !ok {
			t.Fatal("this is not ent")
		}
		update := func(ctx context.Context, tx *sql.Tx) error {
			if err := b.insert(ctx, tx, "a"); err != nil {
				return err
			}
			within, err := library.within(ctx, tx)
			if err != nil {
				return err
			}
			if _, err := within.Client().Tx(ctx); !errors.Is(err, ent.ErrTxStarted) {
				t.Errorf("another transaction: %v", err)
			}
			if err := within.Effect.UpdateOneID("a").SetNote("updated").Exec(ctx); err != nil {
				return err
			}
			found, err := within.Effect.Get(ctx, "a")
			if err == nil && found.Note != "updated" {
				t.Errorf("the transaction reads %v", found)
			}

			return err
		}
		i := setupInTx(t, b)
		for name, process := range map[string]func(ctx context.Context, eventID string, fn func(context.Context, *sql.Tx) error) (idem.Outcome, error){
			"ProcessIfNew": func(ctx context.Context, eventID string, fn func(context.Context, *sql.Tx) error) (idem.Outcome, error) {
				return b.guard.ProcessIfNew(ctx, eventID, fn)
			},
			"InTx": i.process,
		} {
			outcome, err := process(t.Context(), "a", func(ctx context.Context, tx *sql.Tx) error { return errors.Join(update(ctx, tx), errBoom) })
			if outcome != 0 || !errors.Is(err, errBoom) {
				t.Fatalf("%s: got %v, %v", name, outcome, err)
			}
			b.wantProcessed(t, "a", false)
			outcome, err = process(t.Context(), "a", update)
			want(t, name, outcome, err, idem.Processed)
			b.wantProcessed(t, "a", true)
			b.exec(t, `DELETE FROM public.effects`)
			b.exec(t, `DELETE FROM idem.processed_events`)
		}
	})
}

package idem_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// A handler that fails and then no more: no event is at fault, and all are processed.
func TestBatchHandlerFailsForNoLastingReason(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var handler poisoned
	results, err := b.guard.ProcessBatch(t.Context(), batchOf("a", "b", "c", "d", "e", "f", "g", "h"), func(ctx context.Context, tx pgx.Tx, fresh []idem.Event) error {
		err := handler.handle(ctx, tx, fresh)
		switch handler.runs {
		case 1, 2:
			return errBoom
		case 20:
			panic("it goes round in circles")
		default:
			return err
		}
	})
	if err != nil || outcomes(results) != "PPPPPPPP" {
		t.Errorf("%s, %v", outcomes(results), err)
	}
	if n := len(b.allEffects(t)); n != 8 {
		t.Errorf("%d effects, want 8", n)
	}
}

// An index that is none is not taken for that of the event at fault.
func TestBatchHandlerNamesNoEvent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, index := range []int{-1, 4, 5, 99} {
		handler := poisoned{poison: map[string]bool{"bad": true}}
		b.exec(t, `TRUNCATE idem.processed_events`)
		results, err := b.guard.ProcessBatch(t.Context(), batchOf("a", "b", "bad", "c"), func(ctx context.Context, tx pgx.Tx, fresh []idem.Event) error {
			err := handler.handle(ctx, tx, fresh)
			if handler.runs == 20 {
				panic("it goes round in circles")
			}
			if errors.Is(err, errBoom) {
				return &idem.EventError{Index: index, Err: err}
			}

			return err
		})
		if err != nil || outcomes(results) != "PPEP" {
			t.Errorf("index %d: %s, %v", index, outcomes(results), err)
		}
		if handler.runs != 4 { // All, the first half, "bad", "c".
			t.Errorf("index %d: %d runs, want 4", index, handler.runs)
		}
	}
}

// The index counts the events that the handler got, without the duplicates.
func TestBatchHandlerNamesAnEventBehindADuplicate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if _, err := b.guard.MarkProcessed(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	handler := poisoned{poison: map[string]bool{"bad": true}, point: true}
	results, err := b.guard.ProcessBatch(t.Context(), batchOf("a", "b", "bad", "c"), handler.handle)
	if err != nil || outcomes(results) != "APEP" {
		t.Fatalf("%s, %v", outcomes(results), err)
	}
	if handler.runs != 4 { // All, those before "bad", "bad", those behind it.
		t.Errorf("%d runs, want 4", handler.runs)
	}
	var failed *idem.HandlerError
	if !errors.As(results[2].Err, &failed) || failed.EventID != "bad" {
		t.Errorf("the error names another event: %v", results[2].Err)
	}
}

// The COMMIT of a batch is lost, and another worker, which has waited for one of its events, processes that. The other events are not
// taken for processed with it.
func TestBatchCommitWithoutAnswerWhileAnotherWaits(t *testing.T) {
	t.Parallel()
	c := setupCut(t, idem.RetryPolicy{})
	w := acquire(t, c.through)
	other := make(chan error, 1)
	var handler poisoned
	cut := c.proxy.CutNextCommit(pgtest.DropBeforeCommit)
	results, err := w.ProcessBatch(t.Context(), batchOf("a", "b"), func(ctx context.Context, tx pgx.Tx, fresh []idem.Event) error {
		if handler.runs == 0 {
			go func() {
				outcome, err := c.guard.ProcessIfNew(ctx, "b", c.handler("b"))
				if err == nil && outcome != idem.Processed {
					err = fmt.Errorf("it is %v", outcome)
				}
				other <- err
			}()
			c.waitForLock(t) //nolint:contextcheck // The helper uses the test's.
		}

		return handler.handle(ctx, tx, fresh)
	})
	<-cut
	if err := <-other; err != nil {
		t.Errorf("the other worker: %v", err)
	}
	if err != nil || outcomes(results) != "PA" {
		t.Errorf("got %s, %v", outcomes(results), err)
	}
	if got := slices.Sorted(slices.Values(c.allEffects(t))); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("effects %v", got)
	}
}

// Once the handler has ended the transaction, smaller parts would find the claims committed and say that all is well, although some
// writes are missing. So there are none.
func TestBatchHandlerThatEndsTheTransactionByItsConnection(t *testing.T) {
	t.Parallel()
	b := setup(t)
	guard := b.impatient(t)
	for name, then := range map[string]error{"nil": nil, "error": errBoom, "event error": &idem.EventError{Index: 1, Err: errBoom}, "transient": idem.Transient(errBoom)} {
		runs := 0
		results, err := guard.ProcessBatch(t.Context(), batchOf(name+" 1", name+" 2"), func(ctx context.Context, tx pgx.Tx, _ []idem.Event) error {
			runs++
			if _, err := tx.Conn().Exec(ctx, "COMMIT"); err != nil {
				return err
			}

			return then
		})
		if !errors.Is(err, idem.ErrHandlerTx) || !errors.Is(err, then) && then != nil || idem.IsTransient(err) || runs != 1 || outcomes(results) != "--" {
			t.Errorf("%s: %s, %v after %d runs", name, outcomes(results), err, runs)
		}
	}
}

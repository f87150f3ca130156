package simulation

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
	"github.com/nova-events/idempotent-consumer/internal/modelpg"
)

const effect = "-- name: " + modelpg.EffectStatement + " :exec"

var errSimulated = errors.New("simulated")

// attempt is what a handler meets before its effect. after is the error that it returns after it.
func (w *world) attempt(ctx context.Context, tx pgx.Tx, m consume.Message) (after, err error) {
	f := w.plan.fate(m.Partition, m.Offset)
	if !backoff.Sleep(ctx, f.pause) {
		return nil, ctx.Err()
	}
	if w.isAway("downstream") {
		if m.Offset%2 == 0 {
			return nil, consume.Transient(errSimulated)
		}

		return nil, errSimulated
	}
	if w.count("tries", int64(m.Partition), m.Offset) >= int64(f.failures) || w.cured.Load() {
		return nil, nil
	}
	switch f.how {
	case "panic":
		panic("simulated")
	case "transient":
		return nil, consume.Transient(errSimulated)
	case "permanent":
		return nil, consume.Permanent(errSimulated)
	case "swallowed":
		if tx != nil {
			_, _ = tx.Exec(ctx, "-- name: Wrong :exec")
		}

		return errSimulated, nil
	case "after the effect":
		return errSimulated, nil
	default:
		return nil, errSimulated
	}
}

func (w *world) effectOf(m consume.Message) []any {
	id := m.EventID
	if w.plan.mode == consume.ByCheckpoint {
		id = string(m.Value)
	}

	return []any{m.Partition, m.Offset, id, m.DeadLetter != ""}
}

func (w *world) handle(ctx context.Context, tx pgx.Tx, m consume.Message) error {
	w.logf("handle %d-%d", m.Partition, m.Offset)
	after, err := w.attempt(ctx, tx, m)
	if err == nil {
		_, err = tx.Exec(ctx, effect, w.effectOf(m)...)
	}
	switch {
	case after != nil && w.plan.fate(m.Partition, m.Offset).how == "swallowed":
		return nil // The transaction cannot be committed.
	case err == nil:
		return after
	default:
		return err
	}
}

func (w *world) handleBatch(ctx context.Context, tx pgx.Tx, all []consume.Message) error {
	for i, m := range all {
		err := w.handle(ctx, tx, m)
		if err != nil && m.Offset%2 == 0 && len(all) > 1 { // Others leave it to the guard to find the record.
			return &idem.EventError{Index: i, Err: err}
		}
		if err != nil {
			return err
		}
	}
	clear(all) // They are the handler's.

	return nil
}

func (w *world) handleQueue(ctx context.Context, queue *pgx.Batch, m consume.Message) error {
	after, err := w.attempt(ctx, nil, m)
	if err == nil {
		err = after
	}
	if err == nil {
		queue.Queue(effect, w.effectOf(m)...)
	}

	return err
}

// isAway reports whether something outside does not answer.
func (w *world) isAway(what string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()

	return w.stormy.Load() && time.Now().Before(w.away[what])
}

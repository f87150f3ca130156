package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
)

// replay processes the dead letters of the partition that are due. In an operator's pause they wait until
// the lookout tells of them again.
func (w *worker) replay(revoked, work context.Context) error {
	defer w.condition.rest(w)
	for revoked.Err() == nil && w.engine.gate.isOpen() {
		// Not with revoked: its end would leave behind a start that nothing takes back.
		letter, err := w.owner.NextDeadLetter(work)
		switch {
		case errors.Is(err, idem.ErrNotFound):
			return nil
		case err == nil && revoked.Err() != nil:
			w.putBack(revoked, letter)

			return nil
		case idem.IsTransient(err), revoked.Err() != nil:
			w.log.WarnContext(revoked, "consume: dead letters could not be read, trying again later", "error", err)

			return nil // They stay where they are.
		case err != nil:
			return fmt.Errorf("consume: read dead letters: %w", err)
		}
		due := true
		w.condition.work(w)
		switch {
		case isRawBatch(letter):
			err = w.reopen(revoked, work, letter, 0, errRawBatch)
		case letter.Starts > w.config.Failure.MaxStarts:
			err = w.reopen(revoked, work, letter, 0, fmt.Errorf("%w, %d times", errKillsProcesses, letter.Starts-1))
		case letter.Requested:
			due, err = w.fetchRequested(revoked, work, letter)
		default:
			err = w.replayOne(revoked, work, letter)
		}
		if err != nil || !due {
			return err
		}
	}

	return nil
}

// replayOne processes a dead letter, as any record of the partition: by the owner alone, and under the
// event id that Config.EventID makes of it today.
func (w *worker) replayOne(revoked, work context.Context, letter idem.DeadLetter) error {
	m := newReplay(letter)
	if w.config.Mode != consume.ByCheckpoint {
		var err error
		if m.EventID, err = w.eventID(m.Record); err != nil {
			return w.reopen(revoked, work, letter, 0, err)
		}
		letter.EventID = m.EventID
	}
	failures := 0
	t := &trial{
		m: m, told: []any{"dead_letter", letter.ID},
		run: func(m consume.Message, handler idem.Handler) (idem.Outcome, error) {
			return w.watchOne(work, idem.OpReplay, m, func(work context.Context) (idem.Outcome, error) {
				return w.owner.Replay(work, letter, handler, w.replayOptions(m)...)
			})
		},
		another: func(m consume.Message, _ time.Duration, err error) (time.Duration, bool) {
			failures++
			pause, ok := RetryPauses.Pause(failures), m.Attempt < replayAttempts(w.config.Failure.Retry)
			if ok {
				w.tell(work, m.Offset, consume.Event{Kind: consume.EventRetry, Duration: pause, Err: err})
				w.log.WarnContext(work, "consume: dead letter not processed, trying again", "dead_letter", letter.ID, "offset", m.Offset, "attempt", m.Attempt, "pause", pause, "error", err)
			}

			return pause, ok
		},
	}
	verdict, _, _, err := w.try(revoked, work, t)
	switch verdict {
	case settled: // Its event may have been processed by another delivery.
		return nil
	case lost:
		w.putBack(revoked, letter)

		return err
	case collided:
		w.tell(work, m.Offset, consume.Event{Kind: consume.EventCollision, Err: err})

		return w.reopen(revoked, work, letter, t.m.Attempt, err)
	case refused:
		return w.refuse(t.m, err)
	case failed:
		return w.reopen(revoked, work, letter, t.m.Attempt, err)
	case abandoned, waiting, again: // It is as it was before.
		w.putBack(revoked, letter)
	}

	return nil
}

func (w *worker) replayOptions(m consume.Message) []idem.ProcessOption {
	options := []idem.ProcessOption{w.once}
	if w.config.StoreMetadata && w.config.Mode != consume.ByCheckpoint {
		options = append(options, idem.WithMetadata(*w.metadata(m)))
	}
	if w.fingerprints() {
		options = append(options, idem.WithFingerprint(idem.FingerprintOf(m.Value)))
	}

	return options
}

// reopen opens a dead letter that cannot be replayed, for an operator to decide. It makes a copy if
// there is none: a parked record has not failed before.
func (w *worker) reopen(revoked, work context.Context, letter idem.DeadLetter, attempts int, reason error) error {
	m := newReplay(letter)
	if !letter.Copied && !letter.Requested {
		copied, err := w.copyDeadLetter(revoked, m, reason)
		if err != nil || revoked.Err() != nil {
			w.putBack(revoked, letter)

			return err
		}
		letter.Copied = copied
	}
	err := w.persist(revoked, "open a dead letter again", func() error {
		return w.owner.ReopenDeadLetter(work, letter, attempts, errors.New(textOf(reason)))
	})
	if err != nil {
		return w.notDecided(revoked, letter, err)
	}
	w.log.ErrorContext(work, "consume: replay of a dead letter failed", "dead_letter", letter.ID, "offset", letter.Offset, "error", reason)
	w.tell(work, letter.Offset, consume.Event{Kind: consume.EventDeadLetter, Err: reason})

	return nil
}

// notDecided ends a replay that has decided nothing, for an error or none: the next one begins as if it had not been.
func (w *worker) notDecided(revoked context.Context, letter idem.DeadLetter, err error) error {
	w.putBack(revoked, letter)

	return w.endOf(revoked, newReplay(letter), err)
}

// putBack subtracts the start of a replay that ends in order: the next owner counts it from the start.
func (w *worker) putBack(ctx context.Context, letter idem.DeadLetter) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	if err := w.owner.PutBackDeadLetter(ctx, letter); err != nil {
		w.log.WarnContext(ctx, "consume: the start of a replay could not be subtracted", "dead_letter", letter.ID, "error", err)
	}
}

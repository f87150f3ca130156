package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
)

// replay processes the dead letters of the partition that are due.
func (w *worker) replay(revoked, work context.Context) error {
	for revoked.Err() == nil {
		// Not with revoked: its end would leave behind a start that nothing takes back.
		letter, err := w.guard.NextDeadLetter(work, w.partition)
		switch {
		case errors.Is(err, idem.ErrNotFound):
			return nil
		case err == nil && revoked.Err() != nil:
			w.putBack(revoked, letter)

			return nil //nolint:nilerr // There is none.
		case idem.IsTransient(err), revoked.Err() != nil:
			w.log.WarnContext(revoked, "consume: dead letters not read, trying again later", "error", err)

			return nil //nolint:nilerr // They stay where they are.
		case err != nil:
			return fmt.Errorf("consume: read dead letters: %w", err)
		}
		due := true
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
	for tries := 1; ; tries++ {
		var collision *idem.CollisionError
		ran := false
		m.Attempt++
		started := time.Now()
		outcome, err := w.guard.ReplayDeadLetter(work, letter, w.handler(m, &ran), w.replayOptions(m)...)
		transient := idem.IsTransient(err)
		if !ran || transient {
			m.Attempt-- // It was not the handler's fault.
		}
		switch {
		case err == nil && outcome == idem.Processed:
			w.observe(consume.Event{Kind: consume.EventReplayed, Offset: m.Offset, Duration: time.Since(started)})

			return nil
		case err == nil:
			return nil // Its event was processed otherwise.
		case disowned(err):
			w.putBack(revoked, letter)

			return err //nolint:wrapcheck // The caller judges it.
		case work.Err() != nil, transient && revoked.Err() != nil:
			w.putBack(revoked, letter)

			return nil //nolint:nilerr // It is as it was before.
		case errors.As(err, &collision):
			w.observe(consume.Event{Kind: consume.EventCollision, Offset: m.Offset, Err: err})

			return w.reopen(revoked, work, letter, m.Attempt, err)
		case !transient && !ran && !unfit(err):
			return w.refuse(m, err)
		case !transient && (!ran || consume.IsPermanent(err) || m.Attempt >= replayAttempts(w.config.Failure.Retry)):
			return w.reopen(revoked, work, letter, m.Attempt, err)
		}
		kind := consume.EventAttemptFailed
		if transient {
			kind = consume.EventPaused
		}
		if !w.pause(revoked, tries, consume.Event{Kind: kind, Offset: m.Offset, Err: err}, "dead letter not processed, trying again",
			"dead_letter", letter.ID, "attempt", m.Attempt, "transient", transient) {
			w.putBack(revoked, letter)

			return nil
		}
	}
}

func (w *worker) replayOptions(m consume.Message) []idem.Option {
	options := []idem.Option{w.once}
	if w.owner != nil {
		options = append(options, idem.WithHold(w.owner))
	}
	if w.config.StoreMetadata && w.config.Mode != consume.ByCheckpoint {
		options = append(options, idem.WithMetadata(*w.metadata(m)))
	}
	if w.fingerprints() {
		options = append(options, idem.WithFingerprint(idem.FingerprintOf(m.Value)))
	}

	return options
}

// reopen gives a dead letter that cannot be replayed back to those who decide, with a copy if it has
// none: one that was parked has not failed before.
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
	w.log.ErrorContext(work, "consume: replay of a dead letter failed", "dead_letter", letter.ID, "offset", letter.Offset, "error", reason)
	w.observe(consume.Event{Kind: consume.EventDeadLetter, Offset: letter.Offset, Err: reason})

	return w.endOf(revoked, m, w.persist(revoked, "open a dead letter again", func() error {
		return w.guard.ReopenDeadLetter(work, letter, attempts, errors.New(textOf(reason)))
	}))
}

// putBack takes back the start of a replay that ends in order: whoever comes next begins anew with it.
func (w *worker) putBack(ctx context.Context, letter idem.DeadLetter) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	if err := w.guard.PutBackDeadLetter(ctx, letter); err != nil {
		w.log.WarnContext(ctx, "consume: start of a replay not taken back", "dead_letter", letter.ID, "error", err)
	}
}

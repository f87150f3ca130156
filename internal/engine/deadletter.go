package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
)

// errParked is the reason of a parked dead letter.
var errParked = errors.New("it follows a dead letter of the same key")

// fail treats a record that cannot be processed as Config.Failure says.
func (w *worker) fail(revoked, work context.Context, m consume.Message, err error) error {
	if w.config.Failure.Policy == consume.StopOnFailure {
		return w.refuse(m, err)
	}

	// The copy comes first: a crash in between makes one copy too many, not one too few.
	copied, copyErr := w.copyDeadLetter(revoked, m, err)
	if copyErr != nil || revoked.Err() != nil {
		return copyErr
	}
	letter := newDeadLetter(w.partition, m, idem.DeadLetterOpen, err)
	letter.Copied = copied

	return w.store(revoked, work, m, letter, err)
}

// park stores a record behind the dead letters of its key. It returns false if there are none any more:
// then the record must be processed. It returns true if the partition is revoked.
func (w *worker) park(revoked, work context.Context, m consume.Message, reason error) (bool, error) {
	err := w.store(revoked, work, m, newDeadLetter(w.partition, m, idem.DeadLetterParked, reason), reason)
	if errors.Is(err, idem.ErrNotParked) {
		w.parked.Remove(m.Key, m.Offset)

		return false, nil
	}

	return true, err
}

// store stores a record as a dead letter, in the transaction that marks its event. The error is
// idem.ErrNotParked if the record is to be parked and has nothing to wait for.
func (w *worker) store(revoked, work context.Context, m consume.Message, letter idem.DeadLetter, reason error) error {
	started := time.Now()
	if w.fingerprints() {
		letter.Fingerprint = idem.FingerprintOf(m.Value)
	}
	var outcome idem.Outcome
	err := w.persist(revoked, "store a dead letter", func() error {
		var err error
		outcome, err = w.watchOne(work, idem.OpStoreDeadLetter, m, func(work context.Context) (idem.Outcome, error) {
			outcome, err := w.owner.StoreDeadLetter(work, letter)
			if collides(err) {
				w.duplicate = idem.DuplicateCollision
			}

			return outcome, err
		})

		return err
	})
	switch {
	case errors.Is(err, idem.ErrNotParked), disowned(err):
		return err
	case collides(err):
		return w.collided(revoked, work, m, time.Since(started), err)
	case err != nil && work.Err() != nil:
		return nil //nolint:nilerr // The next owner of the partition takes care of it.
	case err != nil:
		return w.endOf(revoked, m, fmt.Errorf("store the dead letter: %w (it is one because %w)", err, reason))
	}
	if w.config.Failure.ParkKeys {
		w.parked.Add(m.Key, m.Offset)
	}
	if outcome == idem.AlreadyProcessed { // It may have been by this call, if it had to be repeated.
		return w.settleOne(revoked, m, outcome, time.Since(started))
	}

	kind := consume.EventParked
	if letter.State == idem.DeadLetterOpen {
		kind = consume.EventDeadLetter
		w.log.ErrorContext(work, "consume: record stored as a dead letter", "offset", m.Offset,
			"event_id", m.EventID, "attempts", m.Attempt, "error", reason)
	}
	w.suspect.settle(letter.State == idem.DeadLetterOpen)
	w.done(m.Offset + 1)
	w.tell(work, m.Offset, consume.Event{Kind: kind, Err: reason})

	return nil
}

func newDeadLetter(p idem.Partition, m consume.Message, state idem.DeadLetterState, reason error) idem.DeadLetter {
	return idem.DeadLetter{
		State: state, Partition: p, Offset: m.Offset, Time: m.Time, Key: m.Key, Value: m.Value, Headers: newHeaders(m.Headers),
		EventID: m.EventID, Attempts: m.Attempt, Error: textOf(reason),
	}
}

func newHeaders(headers []consume.RecordHeader) []idem.DeadLetterHeader {
	all := make([]idem.DeadLetterHeader, len(headers))
	for i, h := range headers {
		all[i] = idem.DeadLetterHeader{Key: h.Key, Value: h.Value}
	}

	return all
}

func newReplay(l idem.DeadLetter) consume.Message {
	m := consume.Message{EventID: l.EventID, DeadLetter: l.ID.String()}
	m.Record = consume.Record{
		Topic: l.Partition.Topic, Partition: l.Partition.Number, Offset: l.Offset, Time: l.Time,
		Key: l.Key, Value: l.Value, Headers: make([]consume.RecordHeader, len(l.Headers)),
	}
	for i, h := range l.Headers {
		m.Headers[i] = consume.RecordHeader{Key: h.Key, Value: h.Value}
	}

	return m
}

// readParked reads which keys have unresolved dead letters. From then on only this owner adds any.
func (w *worker) readParked(revoked context.Context) error {
	if !w.config.Failure.ParkKeys {
		return nil
	}
	err := w.persist(revoked, "read the parked keys", func() error {
		var err error
		w.parked, err = w.owner.ParkedKeys(revoked)

		return err
	})
	if err != nil {
		if revoked.Err() != nil {
			return nil //nolint:nilerr // It no longer matters.
		}

		return fmt.Errorf("consume: read parked keys: %w", err)
	}

	return nil
}

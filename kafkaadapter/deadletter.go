package kafkaadapter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/idem"
)

// errParked is the reason of a parked letter.
var errParked = errors.New("it follows a dead letter of the same key")

// fail does with a record that cannot be processed what Config.OnFailure says.
func (w *worker) fail(revoked, work context.Context, m Message, err error) error {
	if w.config.OnFailure == StopOnFailure {
		return w.refuse(m, err)
	}

	// The copy comes first: after a crash in between there is one more, not one less.
	if err := w.copyLetter(revoked, m, err); err != nil || revoked.Err() != nil {
		return err
	}

	return w.store(revoked, work, m, idem.DeadLetterOpen, err)
}

// store stores a record as a dead letter, in the transaction that marks its event.
func (w *worker) store(revoked, work context.Context, m Message, state idem.DeadLetterState, reason error) error {
	letter := newLetter(w.partition, m, state, reason)
	var options []idem.Option
	if w.owner != nil {
		options = append(options, idem.WithOwner(w.owner, m.Offset))
	}
	started := time.Now()
	var outcome idem.Outcome
	err := w.persist(revoked, "store a dead letter", func() error {
		var err error
		outcome, err = w.guard.StoreDeadLetter(work, letter, options...)

		return err //nolint:wrapcheck // endOf judges it.
	})
	switch {
	case err != nil && work.Err() != nil:
		return nil //nolint:nilerr // The next owner of the partition takes care of it.
	case err != nil:
		return w.endOf(revoked, m, fmt.Errorf("store the dead letter: %w (it is one because %w)", err, reason))
	case outcome == idem.AlreadyProcessed:
		if err := w.settleOne(revoked, m, outcome, time.Since(started)); err != nil {
			return err
		}

		return w.readParked(revoked) // It may have been by this call, if it had to be repeated.
	}

	kind := EventParked
	if state == idem.DeadLetterOpen {
		kind = EventDeadLetter
		w.log.ErrorContext(work, "kafkaadapter: record stored as a dead letter", "offset", m.Offset,
			"event_id", m.EventID, "attempts", m.Attempt, "error", reason)
	}
	if w.config.ParkKeys && m.Key != nil {
		w.parked[string(m.Key)] = true
	}
	w.begun, w.alive = none, w.alive || state == idem.DeadLetterOpen && w.isolated == 0
	w.done(m.Offset + 1)
	w.observe(Event{Kind: kind, Offset: m.Offset, Err: reason})

	return nil
}

func newLetter(p idem.Partition, m Message, state idem.DeadLetterState, reason error) idem.DeadLetter {
	letter := idem.DeadLetter{
		State: state, Partition: p, Offset: m.Offset, Time: m.Time, Key: m.Key, Value: m.Value,
		Headers: make([]idem.DeadLetterHeader, len(m.Headers)),
		EventID: m.EventID, Attempts: m.Attempt, Error: textOf(reason),
	}
	for i, h := range m.Headers {
		letter.Headers[i] = idem.DeadLetterHeader{Key: h.Key, Value: h.Value}
	}

	return letter
}

func newReplay(l idem.DeadLetter) Message {
	m := Message{EventID: l.EventID, DeadLetter: l.ID}
	m.Message = kafka.Message{
		Topic: l.Partition.Topic, Partition: int(l.Partition.Number), Offset: l.Offset, Time: l.Time,
		Key: l.Key, Value: l.Value, Headers: make([]kafka.Header, len(l.Headers)),
	}
	for i, h := range l.Headers {
		m.Headers[i] = kafka.Header{Key: h.Key, Value: h.Value}
	}

	return m
}

// replay processes the dead letters of the partition that are due.
func (w *worker) replay(revoked, work context.Context) error {
	for revoked.Err() == nil {
		letter, err := w.guard.NextDeadLetter(revoked, w.partition)
		switch {
		case errors.Is(err, idem.ErrNotFound):
			return w.readParked(revoked)
		case idem.IsTransient(err), revoked.Err() != nil:
			w.log.WarnContext(revoked, "kafkaadapter: dead letters not read, trying again later", "error", err)

			return nil //nolint:nilerr // They stay where they are.
		case err != nil:
			return fmt.Errorf("kafkaadapter: read dead letters: %w", err)
		}
		switch {
		case isRawBatch(letter):
			err = w.reopen(revoked, work, letter, 0, errRawBatch)
		case letter.Starts > w.config.MaxStarts:
			err = w.reopen(revoked, work, letter, 0, fmt.Errorf("%w, %d times", errKillsProcesses, letter.Starts-1))
		default:
			err = w.replayOne(revoked, work, letter)
		}
		if err != nil {
			return err
		}
	}

	return nil
}

func (w *worker) replayOne(revoked, work context.Context, letter idem.DeadLetter) error {
	m := newReplay(letter)
	for tries := 1; ; tries++ {
		ran := false
		m.Attempt++
		started := time.Now()
		outcome, err := w.guard.ReplayDeadLetter(work, letter, w.handler(m, &ran), w.once)
		transient := idem.IsTransient(err)
		switch {
		case err == nil && outcome == idem.Processed:
			w.observe(Event{Kind: EventReplayed, Offset: m.Offset, Duration: time.Since(started)})

			return nil
		case err == nil:
			return nil // Its event was processed otherwise.
		case work.Err() != nil, transient && revoked.Err() != nil:
			return nil //nolint:nilerr // It is as it was before.
		case !transient && !ran:
			return w.refuse(m, err)
		case !transient && (permanent(err) || m.Attempt >= w.config.Retry.replayAttempts()):
			return w.reopen(revoked, work, letter, m.Attempt, err)
		}
		kind := EventAttemptFailed
		if transient {
			kind = EventPaused
			m.Attempt--
		}
		if !w.pause(revoked, tries, Event{Kind: kind, Offset: m.Offset, Err: err}, "dead letter not processed, trying again",
			"letter", letter.ID, "attempt", m.Attempt, "transient", transient) {
			return nil
		}
	}
}

// reopen gives a letter that cannot be replayed back to those who decide.
func (w *worker) reopen(revoked, work context.Context, letter idem.DeadLetter, attempts int, reason error) error {
	w.log.ErrorContext(work, "kafkaadapter: replay of a dead letter failed", "letter", letter.ID, "offset", letter.Offset, "error", reason)
	w.observe(Event{Kind: EventDeadLetter, Offset: letter.Offset, Err: reason})

	return w.endOf(revoked, newReplay(letter), w.persist(revoked, "open a dead letter again", func() error {
		return w.guard.ReopenDeadLetter(work, letter, attempts, errors.New(textOf(reason)))
	}))
}

// readParked learns which keys have unresolved letters. Between two readings only this owner
// adds any.
func (w *worker) readParked(revoked context.Context) error {
	if !w.config.ParkKeys {
		return nil
	}
	var keys [][]byte
	err := w.persist(revoked, "read the parked keys", func() error {
		var err error
		keys, err = w.guard.ParkedKeys(revoked, w.partition)

		return err //nolint:wrapcheck // Wrapped below.
	})
	if err != nil {
		if revoked.Err() != nil {
			return nil //nolint:nilerr // It no longer matters.
		}

		return fmt.Errorf("kafkaadapter: read parked keys: %w", err)
	}
	w.parked = make(map[string]bool, len(keys))
	for _, key := range keys {
		w.parked[string(key)] = true
	}

	return nil
}

package kafkaadapter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
)

// errKillsProcesses is the reason of a dead letter whose record was never seen to fail.
var errKillsProcesses = errors.New("the process ended without a word each time that it began with this record")

// endTimeout is how long a worker that ends tries to take the note of its first record back.
const endTimeout = time.Second

// process sees to it that the record has taken effect, or is stored as a dead letter, by this
// call or before. It returns nil without that if the partition is revoked.
func (w *worker) process(revoked, work context.Context, record kafka.Message) error {
	m := Message{Message: record}
	var idErr error
	if w.config.Mode != Offsets {
		m.EventID, idErr = w.config.EventID(record)
	}
	switch {
	case record.Key != nil && w.parked[string(record.Key)]:
		return w.bury(revoked, work, m, idem.DeadLetterParked, errors.Join(errParked, idErr))
	case idErr != nil:
		return w.fail(revoked, work, m, idErr)
	}
	if err := w.begin(revoked, m); err != nil {
		if errors.Is(err, errKillsProcesses) {
			return w.fail(revoked, work, m, err)
		}

		return w.endOf(revoked, m, err)
	}

	for tries := 1; ; tries++ {
		ran := false
		m.Attempt++
		started := time.Now()
		outcome, err := w.processOnce(work, m, &ran)
		transient := idem.IsTransient(err)
		if !ran || transient {
			m.Attempt-- // It was not the handler's fault.
		}
		switch {
		case err == nil:
			w.settle(m, outcome, time.Since(started))

			return nil
		case errors.Is(err, idem.ErrFenced):
			return idem.ErrFenced
		case work.Err() != nil, transient && revoked.Err() != nil:
			return nil //nolint:nilerr // The next owner of the partition takes care of it.
		case !transient && !ran && !unfit(err):
			return w.refuse(m, err)
		case !transient && (!ran || permanent(err) || m.Attempt >= w.config.MaxAttempts):
			return w.fail(revoked, work, m, err)
		}
		kind := EventAttemptFailed
		if transient {
			kind = EventPaused
		}
		w.observe(Event{Kind: kind, Offset: m.Offset, Err: err})
		w.log.WarnContext(work, "kafkaadapter: record not processed, trying again", "offset", record.Offset,
			"event_id", m.EventID, "attempt", m.Attempt, "transient", transient, "error", err)
		if !backoff.Sleep(revoked, retryPauses.Pause(tries)) {
			return nil
		}
	}
}

// unfit reports whether it is the record's fault that the guard refuses it.
func unfit(err error) bool {
	return errors.Is(err, idem.ErrInvalidEventID) || errors.Is(err, idem.ErrInvalidMetadata)
}

// processOnce tries once; repeating is up to process, which knows of the revocation.
func (w *worker) processOnce(work context.Context, m Message, ran *bool) (idem.Outcome, error) {
	options := []idem.Option{idem.WithRetry(idem.RetryPolicy{MaxAttempts: 1})}
	if w.config.StoreMetadata && w.config.Mode != Offsets {
		options = append(options, idem.WithMetadata(idem.Metadata{
			Topic: m.Topic, Partition: w.partition.Number, Offset: m.Offset, Key: m.Key, ProducerTime: m.Time, Attempt: m.Attempt,
		}))
	}
	handler := w.handler(m, ran)
	switch w.config.Mode {
	case Offsets:
		return w.guard.ProcessOffset(work, w.mark, m.Offset, handler, options...) //nolint:wrapcheck // refuse wraps it.
	case KeysAndOffsets:
		options = append(options, idem.WithWatermark(w.mark, m.Offset))
	case Keys:
	}

	return w.guard.ProcessIfNew(work, m.EventID, handler, options...) //nolint:wrapcheck // refuse wraps it.
}

func (w *worker) handler(m Message, ran *bool) idem.Handler {
	return func(ctx context.Context, tx pgx.Tx) error {
		*ran = true

		return w.config.Handle(w.config.Context(ctx, m.Message), tx, m)
	}
}

// settle notes that the record is done with.
func (w *worker) settle(m Message, outcome idem.Outcome, took time.Duration) {
	kind := EventProcessed
	if w.behind = outcome == idem.AlreadyProcessed; w.behind {
		kind = EventDuplicate
	} else {
		w.alive = true
	}
	w.begun = none
	w.done(m.Offset + 1)
	w.observe(Event{Kind: kind, Offset: m.Offset, Lag: m.Lag(), Duration: took})
}

// begin notes, for the first record of this owner, that it is tried now, so that a record which
// kills one owner after the other is found. The later ones need no note: whoever is killed by
// one of them leaves it to the next owner as its first.
func (w *worker) begin(revoked context.Context, m Message) error {
	if w.mark == nil || w.alive {
		return nil
	}
	starts := 0
	err := w.persist(revoked, "note the start", func() error {
		var err error
		starts, err = w.mark.Begin(revoked, m.Offset)

		return err //nolint:wrapcheck // endOf judges it.
	})
	if err != nil {
		return err
	}
	w.begun = m.Offset
	if starts > w.config.MaxStarts && w.config.OnFailure == StoreDeadLetter {
		return fmt.Errorf("%w, %d times", errKillsProcesses, starts-1)
	}

	return nil
}

// endInOrder takes the note back: whoever comes next begins anew with the record.
func (w *worker) endInOrder(ctx context.Context) {
	if w.begun == none {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	if err := w.mark.End(ctx, w.begun); err != nil {
		w.log.WarnContext(ctx, "kafkaadapter: start of a record not taken back", "offset", w.begun, "error", err)
	}
}

// endOf judges an error of a statement that has nothing to do with the handler.
func (w *worker) endOf(revoked context.Context, m Message, err error) error {
	switch {
	case errors.Is(err, idem.ErrFenced):
		return idem.ErrFenced
	case err == nil, revoked.Err() != nil:
		return nil //nolint:nilerr // The next owner of the partition takes care of it.
	default:
		return w.refuse(m, err)
	}
}

// refuse makes the error that ends the consumer at a record.
func (w *worker) refuse(m Message, err error) error {
	return &RecordError{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Attempts: m.Attempt, Err: err}
}

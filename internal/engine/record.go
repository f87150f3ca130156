package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
)

// process sees to it that the record has taken effect, or is stored as a dead letter, by this
// call or before. It returns nil without that if the partition is revoked.
func (w *worker) process(revoked, work context.Context, record consume.Record) error {
	m := consume.Message{Record: record}
	var idErr error
	if w.config.Mode != consume.ByCheckpoint {
		m.EventID, idErr = w.eventID(record)
	}
	if w.parked.Has(record.Key) {
		if parked, err := w.park(revoked, work, m, errors.Join(errParked, idErr)); parked || err != nil {
			return err
		}
	}
	if idErr != nil {
		return w.fail(revoked, work, m, idErr)
	}
	starts, err := w.begin(revoked, m.Offset)
	switch {
	case err != nil:
		return w.endOf(revoked, m, err)
	case starts > w.config.Failure.MaxStarts && w.config.Failure.Policy == consume.StoreDeadLetter:
		return w.fail(revoked, work, m, fmt.Errorf("%w, %d times", errKillsProcesses, starts-1))
	}

	tries := attempts{policy: w.config.Failure.Retry, began: time.Now()}
	for waits := 1; ; waits++ {
		var collision *idem.CollisionError
		ran := false
		m.Attempt++
		started := time.Now()
		outcome, err := w.processOnce(work, m, &ran)
		took := time.Since(started)
		transient := idem.IsTransient(err)
		if !ran || transient {
			m.Attempt-- // It was not the handler's fault.
		}
		switch {
		case err == nil:
			return w.settleOne(revoked, m, outcome, took)
		case disowned(err):
			return err
		case work.Err() != nil, transient && revoked.Err() != nil:
			return nil //nolint:nilerr // The next owner of the partition takes care of it.
		case errors.As(err, &collision):
			return w.collided(revoked, work, m, took, collision)
		case !transient && !ran && !unfit(err):
			return w.refuse(m, err)
		case !transient && (!ran || consume.IsPermanent(err)):
			return w.fail(revoked, work, m, err)
		case transient:
			if !w.pause(revoked, waits, consume.Event{Kind: consume.EventPaused, Offset: m.Offset, Err: err}, "record not processed for now, trying again",
				"event_id", m.EventID) {
				return nil
			}

			continue
		}
		pause, again := w.tryAgain(revoked, &tries, m, took, err)
		if !again {
			return w.fail(revoked, work, m, err)
		}
		if waits = 0; !backoff.Sleep(revoked, pause) {
			return nil
		}
	}
}

// unfit reports whether it is the record's fault that the guard refuses it.
func unfit(err error) bool {
	return errors.Is(err, idem.ErrInvalidEventID) || errors.Is(err, idem.ErrInvalidMetadata)
}

// processOnce tries once; repeating is up to process, which knows of the revocation.
func (w *worker) processOnce(work context.Context, m consume.Message, ran *bool) (idem.Outcome, error) {
	options := []idem.Option{w.once}
	if w.config.StoreMetadata && w.config.Mode != consume.ByCheckpoint {
		options = append(options, idem.WithMetadata(*w.metadata(m)))
	}
	if w.fingerprints() {
		options = append(options, idem.WithFingerprint(idem.FingerprintOf(m.Value)))
	}
	handler := w.handler(m, ran)
	switch w.config.Mode {
	case consume.ByCheckpoint:
		return w.guard.ProcessAt(work, w.owner, m.Offset, handler, options...) //nolint:wrapcheck // refuse wraps it.
	case consume.ByEventIDAndCheckpoint:
		options = append(options, idem.WithOwner(w.owner, m.Offset))
	case consume.ByEventID:
	}

	return w.guard.ProcessIfNew(work, m.EventID, handler, options...) //nolint:wrapcheck // refuse wraps it.
}

func (w *worker) metadata(m consume.Message) *idem.Metadata {
	return &idem.Metadata{
		Topic: m.Topic, Partition: w.partition.Number, Offset: m.Offset, Key: m.Key, ProducerTime: m.Time, Attempt: m.Attempt,
	}
}

// settleOne notes that a record is done with.
func (w *worker) settleOne(ctx context.Context, m consume.Message, outcome idem.Outcome, took time.Duration) error {
	if outcome == idem.Processed {
		w.settle(m, 1, 0, took)

		return nil
	}
	w.settle(m, 0, 1, took)
	if w.alive {
		return nil
	}

	// If one of the next records kills this owner, the next one is to begin with that one.
	return w.advance(ctx, m.Offset+1)
}

// settle notes that the records up to m are done with.
func (w *worker) settle(m consume.Message, processed, duplicates int, took time.Duration) {
	w.begun = notBegun
	w.done(m.Offset + 1)
	if processed > 0 {
		w.alive = w.isolated == 0
		w.closeBreaker(m.Offset)
		w.observe(consume.Event{Kind: consume.EventProcessed, Offset: m.Offset, Records: processed, Lag: m.Lag(), Duration: took})
	}
	if duplicates > 0 {
		w.observe(consume.Event{Kind: consume.EventDuplicate, Offset: m.Offset, Records: duplicates, Lag: m.Lag(), Duration: took})
	}
}

// endOf judges an error of a statement that has nothing to do with the handler.
func (w *worker) endOf(revoked context.Context, m consume.Message, err error) error {
	switch {
	case disowned(err):
		return err
	case err == nil, revoked.Err() != nil:
		return nil //nolint:nilerr // The next owner of the partition takes care of it.
	default:
		return w.refuse(m, err)
	}
}

// refuse makes the error that ends the consumer at a record.
func (w *worker) refuse(m consume.Message, err error) error {
	return &consume.RecordError{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Attempts: m.Attempt, Err: err}
}

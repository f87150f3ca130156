package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
)

// process makes the record take effect, or stores it as a dead letter, unless that has happened
// before. If the partition is revoked it returns nil without that. prior is the error of an attempt
// that was already made with the record alone, or nil.
func (w *worker) process(revoked, work context.Context, record consume.Record, prior error) error {
	m := consume.Message{Record: record}
	var idErr error
	if w.config.Mode != consume.ByCheckpoint {
		m.EventID, idErr = w.eventID(record)
	}
	if w.parked.Has(record.Key) {
		if parked, err := w.park(revoked, work, m, errors.Join(errParked, idErr)); parked {
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

	tries := attempts{policy: w.config.Failure.Retry, began: w.engine.gate.clock()}
	t := &trial{
		m: m, prior: prior, told: []any{"event_id", m.EventID},
		run: func(m consume.Message, handler idem.Handler) (idem.Outcome, error) {
			return w.processOnce(work, m, handler)
		},
		another: func(m consume.Message, took time.Duration, err error) (time.Duration, bool) {
			return w.tryAgain(revoked, &tries, m, took, err)
		},
	}
	verdict, outcome, took, err := w.try(revoked, work, t)
	switch verdict {
	case settled:
		return w.settleOne(revoked, t.m, outcome, took)
	case lost:
		return err
	case collided:
		return w.collided(revoked, work, t.m, took, err)
	case refused:
		return w.refuse(t.m, err)
	case failed:
		return w.fail(revoked, work, t.m, err)
	case abandoned, waiting, again:
	}

	return nil
}

// processOnce tries once; try repeats it until the partition is revoked.
func (w *worker) processOnce(work context.Context, m consume.Message, handler idem.Handler) (idem.Outcome, error) {
	event := idem.Event{ID: m.EventID, ByCheckpoint: w.config.Mode == consume.ByCheckpoint, Offset: m.Offset}
	if w.config.StoreMetadata {
		event.Metadata = w.metadata(m)
	}
	if w.fingerprints() {
		event.Fingerprint = idem.FingerprintOf(m.Value)
	}

	return w.watchOne(work, idem.OpProcess, m, func(work context.Context) (idem.Outcome, error) {
		return w.owner.Process(work, event, handler, w.once, w.tells)
	})
}

func (w *worker) metadata(m consume.Message) *idem.Metadata {
	return &idem.Metadata{
		Topic: m.Topic, Partition: w.partition.Number, Offset: m.Offset, Key: m.Key, ProducerTime: m.Time, Attempt: m.Attempt,
	}
}

// settleOne says that a record is settled.
func (w *worker) settleOne(ctx context.Context, m consume.Message, outcome idem.Outcome, took time.Duration) error {
	if outcome == idem.Processed {
		w.settle(m, 1, 0, took)

		return nil
	}
	w.settle(m, 0, 1, took)
	if w.suspect.lifted {
		return nil
	}

	// If one of the next records kills this owner, the next one is to begin with that one.
	return w.advance(ctx, m.Offset+1)
}

// settle says that the records up to m are settled.
func (w *worker) settle(m consume.Message, processed, duplicates int, took time.Duration) {
	w.suspect.settle(processed > 0)
	w.condition.succeed()
	w.pace.took(processed+duplicates, took)
	w.done(m.Offset + 1)
	if processed > 0 {
		w.closeBreaker(m.Offset)
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

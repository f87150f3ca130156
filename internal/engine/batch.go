package engine

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
)

// processSome processes the first of the records, and says how many: a batch of them, or one
// that must stand alone. It returns none if the partition is revoked.
func (w *worker) processSome(revoked, work context.Context, records []consume.Record) (int, error) {
	if w.lanes != nil && !w.suspect.alone() {
		return w.dispatch(revoked, records[0])
	}
	if !w.mayBegin(revoked) {
		return 0, nil
	}
	several := w.several()
	if several == nil || w.suspect.alone() {
		w.suspect.next()

		return 1, w.process(revoked, work, records[0], nil)
	}
	batch := w.gather(records)
	defer clear(batch)
	if len(batch) < 2 {
		w.grow()

		return 1, w.process(revoked, work, records[0], nil)
	}
	if starts, err := w.begin(revoked, batch[0].Offset); err != nil {
		return 0, w.endOf(revoked, consume.Message{Record: records[0]}, err)
	} else if starts > 1 {
		// The former owner began with this record, too, and did not live to end its batch. One
		// by one it will show which record that is.
		w.suspect.isolate(w.config.Batch.Size)

		return 0, nil
	}

	var p wait
	defer p.giveUp()
	for {
		done, prior, err := w.processBatch(work, records, batch, several)
		if done > 0 || err == nil {
			w.resume(revoked, &p, batch[0].Offset)
			w.grow()
			if done < len(batch) {
				return done + 1, w.process(revoked, work, records[done], prior)
			}

			return done, nil
		}
		switch judge(revoked, work, err, false) {
		case lost:
			return 0, err
		case waiting:
			if w.shares() {
				w.pace.alone() // It may have been one of them, and others need not wait for it.

				return 0, nil
			}
			w.pause(revoked, &p, w.stands(consume.PauseTransient, batch[0].Offset, err), "batch not processed, trying again", "records", len(batch))
			if !w.mayBegin(revoked) {
				return 0, nil
			}
			// Where each record fails at times, a large batch always does.
			w.fits = max(1, len(batch)/2)
			batch = batch[:w.fits]
		case settled, abandoned: // The next owner of the partition takes care of them.
			return 0, nil
		case collided, refused, failed, again:
			return 0, w.refuse(consume.Message{Record: records[0], Attempt: 1}, err)
		}
	}
}

// gather returns the first of the records that can be one batch: those before one that is parked or
// has no event id. They are to be cleared once they are done with: the next ones get the same memory.
func (w *worker) gather(records []consume.Record) []idem.Event {
	records = records[:min(len(records), w.limit())]
	size := 0
	batch := w.events[:0]
	w.reads.begin(None)
	defer w.reads.end()
	for i := range records {
		record := &records[i]
		if size += len(record.Key) + len(record.Value); size > w.config.Batch.Bytes {
			break
		}
		if w.parked.Has(record.Key) {
			break
		}
		event := idem.Event{ByCheckpoint: w.config.Mode == consume.ByCheckpoint, Offset: record.Offset, Data: record}
		if w.config.Mode != consume.ByCheckpoint {
			var err error
			w.reads.offset.Store(record.Offset)
			if event.ID, err = w.readID(*record); err != nil {
				break
			}
			if w.fingerprints() {
				event.Fingerprint = idem.FingerprintOf(record.Value)
			}
			if w.config.StoreMetadata {
				event.Metadata = w.metadata(consume.Message{Record: *record, Attempt: 1})
			}
		}
		batch = append(batch, event)
	}
	w.events = batch

	return batch
}

// grow lets the next batch have twice as many records, after one that had to be made smaller.
func (w *worker) grow() {
	if w.fits *= 2; w.fits >= w.config.Batch.Size {
		w.fits = 0
	}
}

// limit is how many records the next transaction may have.
func (w *worker) limit() int {
	if w.shares() {
		return min(w.config.Batch.Size, w.pace.most())
	}

	return cmp.Or(w.fits, w.config.Batch.Size)
}

// processBatch returns how many of the records are done with: all of the batch, or those before the
// one at fault, whose error is prior if it was tried alone. It commits at least what it returns.
func (w *worker) processBatch(work context.Context, records []consume.Record, batch []idem.Event, handler idem.BatchHandler) (done int, prior, err error) {
	started := time.Now()
	processed := 0
	w.watchProcess(work, idem.OpBatch, batch[0].Offset, func() consume.Messages { return fetchedMessages(batch) }, func(work context.Context) consume.ProcessEnd {
		var results []idem.BatchResult
		results, err = w.owner.ProcessBatch(work, batch, handler, w.once)
		var kinds idem.DuplicateCounts
		for done < len(results) && results[done].Outcome != 0 {
			if results[done].Outcome == idem.Processed {
				processed++
			} else {
				kinds[results[done].Duplicate]++
			}
			done++
		}
		if done < len(results) {
			prior = ofRecord(results[done].Err)
			if results[done].Duplicate == idem.DuplicateCollision {
				kinds[idem.DuplicateCollision]++
			}
		}

		return consume.ProcessEnd{Processed: processed, Duplicates: done - processed, DuplicateKinds: kinds, Err: cmp.Or(err, prior)}
	})
	if done > 0 {
		w.settle(consume.Message{Record: records[done-1]}, processed, done-processed, time.Since(started))
	}

	return done, prior, err
}

// ofRecord is an error without the place in the batch, which says nothing about a record that stands
// alone.
func ofRecord(err error) error {
	var (
		failed *idem.HandlerError
		placed *idem.EventError
	)
	if !errors.As(err, &failed) {
		return err
	}
	reason := failed.Err
	for errors.As(reason, &placed) && placed.Err != nil {
		reason = placed.Err
	}

	return &idem.HandlerError{EventID: failed.EventID, Err: reason}
}

package engine

import (
	"context"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
)

// processSome processes the first of the records, and says how many: a batch of them, or one
// that must stand alone. It returns none if the partition is revoked.
func (w *worker) processSome(revoked, work context.Context, records []consume.Record) (int, error) {
	if w.lanes != nil && w.isolated == 0 {
		return w.dispatch(revoked, records[0])
	}
	if w.config.HandleBatch == nil || w.isolated > 0 {
		w.isolated = max(0, w.isolated-1)

		return 1, w.process(revoked, work, records[0])
	}
	batch := w.gather(records)
	if len(batch) < 2 {
		return 1, w.process(revoked, work, records[0])
	}
	if starts, err := w.begin(revoked, batch[0].Offset); err != nil {
		return 0, w.endOf(revoked, consume.Message{Record: records[0]}, err)
	} else if starts > 1 {
		// The former owner began with this record, too, and did not live to end its batch. One
		// by one it will show which record that is.
		w.isolated = w.config.Batch.Size

		return 0, nil
	}

	for tries := 1; ; tries++ {
		done, err := w.processBatch(work, records, batch)
		if done > 0 || err == nil {
			if done < len(batch) {
				return done + 1, w.process(revoked, work, records[done])
			}

			return done, nil
		}
		transient := idem.IsTransient(err)
		switch {
		case disowned(err):
			return 0, err
		case work.Err() != nil, transient && revoked.Err() != nil:
			return 0, nil //nolint:nilerr // The next owner of the partition takes care of them.
		case !transient:
			return 0, w.refuse(consume.Message{Record: records[0], Attempt: 1}, err)
		}
		if !w.pause(revoked, tries, consume.Event{Kind: consume.EventPaused, Offset: batch[0].Offset, Err: err}, "batch not processed, trying again", "records", len(batch)) {
			return 0, nil
		}
	}
}

// gather returns the first of the records that can be one batch: those before one that is parked or
// has no event id.
func (w *worker) gather(records []consume.Record) []idem.BatchEvent {
	records = records[:min(len(records), w.config.Batch.Size)]
	size := 0
	batch := make([]idem.BatchEvent, 0, len(records))
	for i := range records {
		record := &records[i]
		if size += len(record.Key) + len(record.Value); size > w.config.Batch.Bytes && len(batch) > 0 {
			break
		}
		if w.parked.Has(record.Key) {
			break
		}
		event := idem.BatchEvent{Offset: record.Offset, Data: record}
		if w.config.Mode != consume.ByCheckpoint {
			var err error
			if event.ID, err = w.eventID(*record); err != nil {
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

	return batch
}

// processBatch returns how many of the records are done with: all of the batch, or those before the
// one at fault. It commits at least what it returns.
func (w *worker) processBatch(work context.Context, records []consume.Record, batch []idem.BatchEvent) (int, error) {
	started := time.Now()
	results, err := w.guard.ProcessBatchAt(work, w.owner, batch, w.batchHandler, w.once)
	done, processed := 0, 0
	for done < len(results) && results[done].Outcome != 0 {
		if results[done].Outcome == idem.Processed {
			processed++
		}
		done++
	}
	if done > 0 {
		w.settle(consume.Message{Record: records[done-1]}, processed, done-processed, time.Since(started))
	}

	return done, err //nolint:wrapcheck // processSome judges it.
}

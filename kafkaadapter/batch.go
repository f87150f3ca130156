package kafkaadapter

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/idem"
)

// BatchHandler is the business logic for several records of one partition, in their order, none
// of which is processed yet. All take effect together. If it fails, they are tried in smaller
// batches, each in a transaction of its own, until the record at fault stands alone; that one
// then goes the way of single records. An *idem.EventError with the record's index in batch
// saves the search.
type BatchHandler func(ctx context.Context, tx pgx.Tx, batch []Message) error

// processSome processes the first of the records, and says how many: a batch of them, or one
// that must stand alone. It returns none if the partition is revoked.
func (w *worker) processSome(revoked, work context.Context, records []kafka.Message) (int, error) {
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
		return 0, w.endOf(revoked, batch[0], err)
	} else if starts > 1 {
		// The former owner began with this record, too, and did not live to end its batch. One
		// by one it will show which record that is.
		w.isolated = w.config.BatchSize

		return 0, nil
	}

	for tries := 1; ; tries++ {
		done, err := w.processBatch(work, batch)
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
			return 0, w.refuse(batch[0], err)
		}
		if !w.pause(revoked, tries, Event{Kind: EventPaused, Offset: batch[0].Offset, Err: err}, "batch not processed, trying again", "records", len(batch)) {
			return 0, nil
		}
	}
}

// gather returns the records that can be one batch: those before one that is parked or has no
// event id.
func (w *worker) gather(records []kafka.Message) []Message {
	size := 0
	batch := make([]Message, 0, min(len(records), w.config.BatchSize))
	for _, record := range records[:min(len(records), w.config.BatchSize)] {
		m := Message{Message: record, Attempt: 1}
		if size += len(record.Key) + len(record.Value); size > w.config.BatchBytes && len(batch) > 0 {
			break
		}
		if record.Key != nil && w.parked[string(record.Key)] {
			break
		}
		if w.config.Mode != ByCheckpoint {
			var err error
			if m.EventID, err = w.config.EventID(record); err != nil {
				break
			}
		}
		batch = append(batch, m)
	}

	return batch
}

// processBatch returns how many of the records are done with: all, or those before the one at
// fault. It commits at least what it returns.
func (w *worker) processBatch(work context.Context, batch []Message) (int, error) {
	events := make([]idem.BatchEvent, len(batch))
	for i, m := range batch {
		events[i] = idem.BatchEvent{ID: m.EventID, Offset: m.Offset, Data: &batch[i]}
		if w.config.StoreMetadata && w.config.Mode != ByCheckpoint {
			events[i].Metadata = w.metadata(m)
		}
	}
	started := time.Now()
	results, err := w.guard.ProcessBatchAt(work, w.owner, events, func(ctx context.Context, tx pgx.Tx, fresh []idem.BatchEvent) error {
		messages := batch
		if len(fresh) < len(batch) {
			messages = make([]Message, len(fresh))
			for i, e := range fresh {
				messages[i] = *e.Data.(*Message) //nolint:forcetypeassert // Set above.
			}
		}

		return w.config.HandleBatch(ctx, tx, messages)
	}, w.once)

	done, processed := 0, 0
	for done < len(results) && results[done].Outcome != 0 {
		if results[done].Outcome == idem.Processed {
			processed++
		}
		done++
	}
	if done > 0 {
		w.settle(batch[done-1], processed, done-processed, time.Since(started))
	}

	return done, err //nolint:wrapcheck // processSome judges it.
}

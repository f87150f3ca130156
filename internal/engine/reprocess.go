package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/readable"
)

var (
	// errNotInLog is the reason of a request that ends without its record.
	errNotInLog = errors.New("the log has no such record")
	errGone     = fmt.Errorf("%w: it has expired, was compacted away or aborted, or never was", errNotInLog)

	// errUntold is the reason why a request waits for somebody to decide.
	errUntold = errors.New("whether the record is that of the event that was asked for cannot be told")

	// errThrottled and errNothingSent are reasons to fetch again later.
	errThrottled   = errors.New("the broker sends nothing to this client for now, which is over its quota")
	errNothingSent = errors.New("the broker has sent nothing of the partition, though its log has the offset")
)

// fetchRequested reads a record that was requested ("idemctl reprocess") and stores it with the
// request, which from then on is a dead letter like any other. It reports whether the next request is
// to be read now: while Kafka does not answer, all wait for the next time.
func (w *worker) fetchRequested(revoked, work context.Context, letter idem.DeadLetter) (bool, error) {
	record, err := w.requested(revoked, letter)
	switch {
	case errors.Is(err, errNotInLog):
		if expired := w.persist(revoked, "give up a request", func() error { return w.owner.ExpireDeadLetter(work, letter, err) }); expired != nil {
			return true, w.notDecided(revoked, letter, expired)
		}
		w.log.ErrorContext(work, "consume: the record that is to be processed again is not in the log", "dead_letter", letter.ID, "offset", letter.Offset, "error", err)

		return true, nil
	case errors.Is(err, errUntold), errors.Is(err, consume.ErrUnreadable):
		return true, w.reopen(revoked, work, letter, 0, err)
	case errors.Is(err, ErrOtherTopic): // The owner from then on decides.
		w.putBack(revoked, letter)

		return false, fmt.Errorf("consume: read a record that is to be processed again: %w", err)
	case err != nil:
		w.putBack(revoked, letter)
		if fatal(err) {
			return false, w.refuse(newReplay(letter), err)
		}
		if w.engine.unread.Due(waitLine) { // It may last, and is tried again every few seconds.
			w.log.WarnContext(revoked, "consume: the record that is to be processed again could not be read, trying again later", "dead_letter", letter.ID, "offset", letter.Offset, "error", err)
		}

		return false, nil
	}
	letter.Time, letter.Key, letter.Value, letter.Headers = record.Time, record.Key, record.Value, newHeaders(record.Headers)
	err = w.persist(revoked, "store a record that is to be processed again", func() error {
		return w.owner.FillDeadLetter(work, letter)
	})

	return true, w.notDecided(revoked, letter, err)
}

// requested reads the record that a request is about. Another one may stand in its place by now: the topic was made anew, or its log
// was truncated and filled again. To process that one would be to forget its claim, too.
func (w *worker) requested(ctx context.Context, letter idem.DeadLetter) (consume.Record, error) {
	known := letter.Partition.TopicID != uuid.Nil && w.partition.TopicID != uuid.Nil
	if known && letter.Partition.TopicID != w.partition.TopicID {
		return consume.Record{}, fmt.Errorf("%w: %w since it was asked for; another one may stand at offset %d now", errNotInLog, ErrOtherTopic, letter.Offset)
	}
	record, err := w.fetchOne(ctx, letter.Offset)
	if err == nil && known {
		err = w.source.CheckTopic(ctx) // Clients fetch by the topic's name.
	}
	if err == nil && letter.EventID != "" {
		err = w.checkEvent(letter.EventID, record)
	}

	return record, err
}

// checkEvent returns an error unless a record has the event id that was asked for.
func (w *worker) checkEvent(asked string, record consume.Record) error {
	if w.config.Mode == consume.ByCheckpoint {
		return fmt.Errorf("%w: the consumer makes no event ids (mode ByCheckpoint); discard this, and name the record by its topic, partition and offset", errUntold)
	}
	id, err := w.eventID(record)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", errUntold, err)
	case id != asked:
		return fmt.Errorf("%w: event %s stands in its place now, at offset %d, which was not processed; if that one is meant, name it by its topic, partition and offset",
			errNotInLog, readable.Name(readable.Short(id)), record.Offset)
	default:
		return nil
	}
}

// fetchOne reads the record at an offset.
func (w *worker) fetchOne(ctx context.Context, offset int64) (consume.Record, error) {
	batch, err := w.fetch(ctx, Request{Offset: offset, Uncounted: true})
	switch {
	case errors.Is(err, ErrOutOfRange):
		return consume.Record{}, errGone
	case err != nil:
		return consume.Record{}, fmt.Errorf("fetch %v at offset %d: %w", w.partition, offset, err)
	}
	defer batch.Release()
	for _, record := range batch.Records {
		if record.Offset == offset {
			return copyOf(record), nil
		}
	}

	return consume.Record{}, w.lacks(ctx, offset, batch)
}

// lacks says why a batch does not have the record at the offset that it was fetched from: errNotInLog, or what may pass. What a
// broker tells beside an empty answer is no proof: it is nothing, or old, if the client is over its quota, and a leader that
// was just elected may not know yet how far its log is replicated. Asked for the ends of the log, it says so.
func (w *worker) lacks(ctx context.Context, offset int64, batch *Batch) error {
	if batch.Next > offset {
		return errGone
	}
	first, last, err := w.ends(ctx)
	switch {
	case err != nil:
		return err
	case offset < first || offset >= last:
		return errGone
	case batch.Throttle > 0:
		return errThrottled
	case batch.HighWatermark > offset && batch.LastStable <= offset:
		return consume.ErrOpenTransaction
	default:
		return errNothingSent
	}
}

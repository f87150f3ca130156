package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
)

// errNotInLog is the reason of a request that ends without its record.
var errNotInLog = errors.New("the log has no such record: it has expired, was compacted away, or never was")

// fetchRequested reads a record that was requested ("idemctl reprocess") and stores it with the
// request, which from then on is a dead letter like any other. It reports whether the next request is
// to be read now: while Kafka does not answer, all wait for the next time.
func (w *worker) fetchRequested(revoked, work context.Context, letter idem.DeadLetter) (bool, error) {
	record, err := w.fetchOne(revoked, letter.Offset)
	switch {
	case errors.Is(err, errNotInLog):
		if expired := w.persist(revoked, "give up a request", func() error { return w.owner.ExpireDeadLetter(work, letter, err) }); expired != nil {
			return true, w.notDecided(revoked, letter, expired)
		}
		w.log.ErrorContext(work, "consume: the record that is to be processed again is not in the log", "dead_letter", letter.ID, "offset", letter.Offset)

		return true, nil
	case errors.Is(err, consume.ErrUnreadable):
		return true, w.reopen(revoked, work, letter, 0, err)
	case err != nil:
		w.putBack(revoked, letter)
		if fatal(err) {
			return false, w.refuse(newReplay(letter), err)
		}
		w.log.WarnContext(revoked, "consume: the record that is to be processed again could not be read, trying again later", "offset", letter.Offset, "error", err)

		return false, nil
	}
	letter.Time, letter.Key, letter.Value, letter.Headers = record.Time, record.Key, record.Value, newHeaders(record.Headers)
	err = w.persist(revoked, "store a record that is to be processed again", func() error {
		return w.owner.FillDeadLetter(work, letter)
	})

	return true, w.notDecided(revoked, letter, err)
}

// fetchOne reads the record at an offset.
func (w *worker) fetchOne(ctx context.Context, offset int64) (consume.Record, error) {
	batch, err := w.fetch(ctx, Request{Offset: offset, Uncounted: true})
	switch {
	case errors.Is(err, ErrOutOfRange):
		return consume.Record{}, errNotInLog
	case err != nil:
		return consume.Record{}, fmt.Errorf("fetch %v at offset %d: %w", w.partition, offset, err)
	}
	defer batch.Release()
	for _, record := range batch.Records {
		if record.Offset == offset {
			return copyOf(record), nil
		}
	}

	return consume.Record{}, errNotInLog
}

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

// rawBatchHeader marks the dead letter of an unreadable batch. Its value says which offsets the
// batch has.
const rawBatchHeader = "idem_unreadable_batch"

// othersGoOn is how long the other partitions go on after one has stopped at an unreadable batch.
// Without it, a service that is restarted again and again would process nothing at all.
const othersGoOn = 10 * time.Second

// errRawBatch is why such a dead letter is not replayed.
var errRawBatch = errors.New("it holds a batch that could not be read, not a record; read its value with other tools, then discard it")

// passUnreadable treats a batch that cannot be read as Config.OnUnreadable says, and returns the
// offset after it. All records before it are processed.
func (w *worker) passUnreadable(revoked, work context.Context, bad *UnreadableError) (int64, error) {
	next := bad.Last + 1
	w.owner.SetLeaderEpoch(None) // Nobody knows the batch's.
	var err error
	switch w.config.OnUnreadable {
	case consume.StoreUnreadable:
		err = w.persist(revoked, "store an unreadable batch", func() error { return w.storeUnreadable(work, bad) })
	case consume.SkipUnreadable:
		err = w.persist(revoked, "skip an unreadable batch", func() error { return w.owner.Advance(work, next) })
	case consume.StopOnUnreadable:
		w.log.ErrorContext(work, "consume: unreadable batch, this partition stops now and the consumer soon", "first", bad.First, "last", bad.Last, "error", bad.Err)
		backoff.Sleep(revoked, othersGoOn)

		return 0, fmt.Errorf("%w: offsets %d to %d of %v: %w; set Config.OnUnreadable to go on at offset %d",
			consume.ErrUnreadable, bad.First, bad.Last, w.partition, bad.Err, next)
	}
	switch {
	case disowned(err):
		return 0, err
	case err != nil && (revoked.Err() != nil || work.Err() != nil):
		return 0, nil //nolint:nilerr // The next owner of the partition takes care of it.
	case err != nil:
		return 0, fmt.Errorf("consume: go on after the unreadable batch of the offsets %d to %d of %v: %w", bad.First, bad.Last, w.partition, err)
	}

	w.suspect.settle(false)
	kind, offset, message := consume.EventSkipped, next, "consume: unreadable batch skipped, its records are lost to this consumer"
	if w.config.OnUnreadable == consume.StoreUnreadable {
		kind, offset, message = consume.EventDeadLetter, bad.First, "consume: unreadable batch stored as a dead letter"
	}
	w.log.ErrorContext(work, message, "first", bad.First, "last", bad.Last, "bytes", bad.Size, "error", bad.Err)
	w.tell(work, offset, consume.Event{Kind: kind, Err: bad})
	w.done(next)

	return next, nil
}

// storeUnreadable stores the batch as it came, in the transaction that advances the checkpoint over
// it.
func (w *worker) storeUnreadable(work context.Context, bad *UnreadableError) error {
	what := fmt.Sprintf("the value is the whole batch of %d bytes as the broker has it", bad.Size)
	if bad.Raw == nil {
		what = fmt.Sprintf("its %d bytes are too many to be stored; they are in the log", bad.Size)
	}
	letter := idem.DeadLetter{
		State: idem.DeadLetterOpen, Partition: w.partition, Offset: bad.First, LastOffset: bad.Last, Value: bad.Raw,
		Headers: []idem.DeadLetterHeader{{Key: rawBatchHeader, Value: fmt.Appendf(nil, "%d-%d", bad.First, bad.Last)}},
		Error:   fmt.Sprintf("the batch of the offsets %d to %d cannot be read: %v; %s", bad.First, bad.Last, bad.Err, what),
	}
	_, err := w.owner.StoreDeadLetter(work, letter, w.once)

	return err
}

// isRawBatch reports whether a dead letter is an unreadable batch.
func isRawBatch(letter idem.DeadLetter) bool {
	return len(letter.Headers) == 1 && letter.Headers[0].Key == rawBatchHeader
}

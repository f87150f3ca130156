package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
)

// maxUnreadable is how often an answer may be unreadable before it is not the network's fault.
const maxUnreadable = 5

// fetcher reads ahead in a partition: while one response is processed, the next is fetched.
type fetcher struct {
	*worker

	batches chan fetched // closed at the end
	err     error        // why it ended, other than by its context
	ended   chan struct{}

	offset     int64
	epoch      int32           // of the leader that wrote the record before it, or None
	note       note            // what is not handed over yet
	unsuspect  bool            // records have come, or need no note
	processing <-chan struct{} // closed when the latest response is processed; nil if there is none
	unreadable int             // answers in a row that were
	held       time.Time       // since when an open transaction has held back what is there
	open       wait            // that it does
}

// fetched is a batch, and the note that was made before it was decoded.
type fetched struct {
	*Batch

	note note
}

func newFetcher(w *worker, offset int64) *fetcher {
	return &fetcher{
		worker: w, batches: make(chan fetched), ended: make(chan struct{}), offset: offset, epoch: w.owner.LeaderEpoch(),
		note: noNote, unsuspect: w.suspect.lifted,
	}
}

func (f *fetcher) run(ctx context.Context) {
	defer close(f.ended)
	defer close(f.batches)
	f.err = consume.ErrHandlerExited // unless readAhead returns
	f.err = f.readAhead(ctx)
}

func (f *fetcher) readAhead(ctx context.Context) error {
	var p wait
	defer p.giveUp()
	defer f.open.giveUp()
	for ctx.Err() == nil {
		batch, err := f.next(ctx)
		if err != nil {
			if err := f.judge(ctx, err); err != nil || ctx.Err() != nil {
				return err
			}
			f.pause(ctx, &p, f.stands(consume.PauseKafka, f.offset, err), "fetch failed, trying again")

			continue
		}
		f.unreadable = 0
		f.resume(ctx, &p, f.offset)
		if batch.Throttle > 0 {
			f.logThrottled(ctx, batch.Throttle)
		}
		f.watchTransaction(ctx, batch)
		if batch.Next == f.offset {
			batch.Release()

			continue
		}
		if batch.LeaderEpoch > f.epoch { // Another leader: was its election unclean?
			if err := f.checkLog(ctx, f.offset, f.epoch); err != nil {
				batch.Release()

				return err
			}
			f.epoch = batch.LeaderEpoch
		}
		arrived := time.Now()
		if !f.handOver(ctx, batch) {
			return nil
		}
		readToEnd := batch.Next >= batch.LastStable && len(batch.Records) > 0
		if wait := f.config.Batch.Linger - time.Since(arrived); wait > 0 && readToEnd {
			backoff.Sleep(ctx, wait)
		}
	}

	return nil
}

// handOver gives a response to the worker, and reports whether ctx is still alive then.
func (f *fetcher) handOver(ctx context.Context, batch *Batch) bool {
	select {
	case f.batches <- fetched{batch, f.note}:
	case <-ctx.Done():
		batch.Release()

		return false
	}
	f.offset, f.processing = batch.Next, batch.Released
	suspected := f.note.owners > 1
	f.note, f.unsuspect = noNote, f.unsuspect || len(batch.Records) > 0
	if !suspected {
		return true
	}
	// A former owner has died here. If it was by decoding what comes next, that is to be the first
	// thing that somebody begins with: once this is processed.
	select {
	case <-f.processing:
	case <-ctx.Done():
	}

	return ctx.Err() == nil
}

// before notes, until records have come, that this owner begins with what is at the offset, because
// decoding it can kill the process already.
func (f *fetcher) before(ctx context.Context) (Care, error) {
	if f.unsuspect {
		return DecodeAll, nil
	}
	if f.note.offset != f.offset {
		noted := note{offset: f.offset}
		err := f.persist(ctx, noting, func() (err error) {
			noted.owners, noted.decoded, err = f.owner.BeginDecoding(ctx, f.offset)

			return err
		})
		if err != nil {
			return 0, fmt.Errorf("%w: %w", errNotNoted, err)
		}
		f.note = noted
	}
	switch {
	case f.note.owners > f.config.Failure.MaxStarts && !f.note.decoded:
		return DecodeNothing, nil
	case f.note.owners > 1:
		return DecodeFirst, nil
	default:
		return DecodeAll, nil
	}
}

// errNotNoted is returned when it has nothing to do with Kafka that there are no records.
var errNotNoted = errors.New("consume: note the start")

// next fetches once.
func (f *fetcher) next(ctx context.Context) (*Batch, error) {
	return f.fetch(ctx, Request{
		Offset: f.offset, After: f.processing, Before: func() (Care, error) { return f.before(ctx) },
	})
}

// transactionPatience is how long a producer's transaction may be open before somebody is told.
const transactionPatience = 5 * time.Second

// watchTransaction tells if records are there that a transaction holds back that is still open.
func (f *fetcher) watchTransaction(ctx context.Context, batch *Batch) {
	switch {
	case batch.Next > f.offset || batch.LastStable > f.offset || batch.HighWatermark <= f.offset:
		f.held = time.Time{}
		f.resume(ctx, &f.open, batch.Next)
	case f.held.IsZero():
		f.held = time.Now()
	case time.Since(f.held) >= transactionPatience:
		f.stand(ctx, &f.open, f.stands(consume.PauseProducer, f.offset, consume.ErrOpenTransaction), "waiting for a producer to end its transaction",
			"records", batch.HighWatermark-f.offset)
	}
}

// logThrottled tells that the broker wants this client to wait, which the source does. A client
// over its quota is told so again and again: one line a minute says it.
func (f *fetcher) logThrottled(ctx context.Context, wait time.Duration) {
	if f.engine.throttled.Due(time.Minute) {
		f.log.WarnContext(ctx, "consume: the broker throttles this client, which is over its quota", "wait", wait)
	}
}

// judge returns the error that must end the consumer because of err, or nil if it may pass.
func (f *fetcher) judge(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // It was told to stop.
	}
	where := fmt.Sprintf("fetch %v at offset %d", f.partition, f.offset)
	switch {
	case errors.Is(err, errNotNoted):
		return err
	case errors.Is(err, ErrOutOfRange):
		return cmp.Or(f.checkLog(ctx, f.offset, f.epoch), error(&outOfRangeError{offset: f.offset, truncated: None}))
	case fatal(err):
		return fmt.Errorf("%s: %w", where, err)
	case errors.Is(err, consume.ErrUnreadable):
		var bad *UnreadableError
		placed := errors.As(err, &bad)
		if placed && errors.Is(bad, ErrDeadly) {
			bad.Err = fmt.Errorf("%w, %d times", bad.Err, f.note.owners-1)
		}
		f.unreadable++
		switch {
		case placed && (!bad.Damaged || f.unreadable >= maxUnreadable):
			return bad // The worker comes to it once it has processed what stands before.
		case f.unreadable >= maxUnreadable:
			return fmt.Errorf("%s: %w", where, err)
		}
	}

	return nil
}

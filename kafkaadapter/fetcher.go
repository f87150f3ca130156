package kafkaadapter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/fetch"
)

// maxUnreadable is how often a response may be unreadable before it is not the network's fault.
const maxUnreadable = 5

// fetcher reads ahead in a partition: while one response is processed, the next is fetched.
type fetcher struct {
	*worker

	transport *kafka.Transport
	responses chan fetched // closed at the end
	err       error        // why it ended, other than by its context
	ended     chan struct{}

	offset     int64
	begun      begun           // what is not handed over yet
	alive      bool            // records have come, or need no note
	processing <-chan struct{} // closed when the latest response is processed; nil if there is none
	missing    time.Time       // since when the topic is missing
	unreadable int             // responses in a row that were
}

// fetched is a response, and the note that was made before it was decoded.
type fetched struct {
	*fetch.Response

	begun begun
}

func newFetcher(w *worker, offset int64) *fetcher {
	return &fetcher{
		worker: w, transport: w.generation.transport(),
		responses: make(chan fetched), ended: make(chan struct{}), offset: offset, begun: notBegun, alive: w.alive || w.owner == nil,
	}
}

func (f *fetcher) run(ctx context.Context) {
	defer close(f.ended)
	defer close(f.responses)
	for failed := 0; ctx.Err() == nil; {
		response, err := f.next(ctx)
		if err != nil {
			failed++
			if f.err = f.judge(ctx, err); f.err != nil {
				return
			}
			backoff.Sleep(ctx, min(time.Second, retryPauses.Pause(failed)))

			continue
		}
		failed, f.missing, f.unreadable = 0, time.Time{}, 0
		if response.Throttle > 0 {
			f.tellThrottled(ctx, response.Throttle)
		}
		if response.Next == f.offset {
			response.Release()

			continue
		}
		arrived := time.Now()
		if !f.handOver(ctx, response) {
			return
		}
		readToEnd := response.Next >= response.LastStable && len(response.Messages) > 0
		if wait := f.config.Linger - time.Since(arrived); wait > 0 && readToEnd {
			backoff.Sleep(ctx, wait)
		}
	}
}

// handOver gives a response to the worker, and reports whether ctx is still alive then.
func (f *fetcher) handOver(ctx context.Context, response *fetch.Response) bool {
	select {
	case f.responses <- fetched{response, f.begun}:
	case <-ctx.Done():
		response.Release()

		return false
	}
	f.offset, f.processing = response.Next, response.Released()
	suspected := f.begun.owners > 1
	f.begun, f.alive = notBegun, f.alive || len(response.Messages) > 0
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
func (f *fetcher) before(ctx context.Context) (fetch.Care, error) {
	if f.alive {
		return fetch.DecodeAll, nil
	}
	if f.begun.offset != f.offset {
		noted, err := f.note(ctx, f.offset, (*idem.Owner).BeginDecoding)
		if err != nil {
			return 0, fmt.Errorf("%w: %w", errNotNoted, err)
		}
		f.begun = noted
	}
	switch {
	case f.begun.owners > f.config.MaxStarts && !f.begun.decoded:
		return fetch.DecodeNothing, nil
	case f.begun.owners > 1:
		return fetch.DecodeFirst, nil
	default:
		return fetch.DecodeAll, nil
	}
}

// errNotNoted is returned when it has nothing to do with Kafka that there are no records.
var errNotNoted = errors.New("kafkaadapter: note the start")

// next fetches once.
func (f *fetcher) next(ctx context.Context) (*fetch.Response, error) {
	return fetch.Fetch(ctx, f.transport, f.generation.consumer.brokers, fetch.Request{ //nolint:wrapcheck // judge wraps it.
		Topic: f.partition.Topic, Partition: int(f.partition.Number), Offset: f.offset,
		MaxBytes: f.config.MaxBytes, MaxWait: f.config.MaxWait, ClientID: f.config.ClientID,
		Quota: &f.connections().quota, Memory: f.config.Memory.shared, After: f.processing,
		Before: func() (fetch.Care, error) { return f.before(ctx) },
	})
}

// connections are those of the consumer.
func (f *fetcher) connections() *connections { return f.generation.member.connections }

// tellThrottled tells that the broker wants this client to wait, which fetch.Fetch does. A client
// over its quota is told so again and again: one line a minute says it.
func (f *fetcher) tellThrottled(ctx context.Context, wait time.Duration) {
	f.observe(Event{Kind: EventThrottled, Offset: f.offset, Duration: wait})
	if f.connections().throttled.due(time.Minute) {
		f.log.WarnContext(ctx, "kafkaadapter: the broker throttles this client, which is over its quota", "client", f.config.ClientID, "wait", wait)
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
	case errors.Is(err, kafka.OffsetOutOfRange):
		return &outOfRangeError{offset: f.offset, truncated: none}
	case unknownTopic(err):
		if f.missing.IsZero() {
			f.missing = time.Now()
		}
		if time.Since(f.missing) > f.config.TopicGrace {
			return fmt.Errorf("%w: %s: %w", ErrUnknownTopic, where, err)
		}
	case unreadable(err):
		var bad *fetch.UnreadableError
		placed := errors.As(err, &bad)
		if placed && errors.Is(bad, fetch.ErrDeadly) {
			bad.Err = fmt.Errorf("%w, %d times", bad.Err, f.begun.owners-1)
		}
		f.unreadable++
		switch {
		case placed && (!bad.Damaged || f.unreadable >= maxUnreadable):
			return bad // The worker comes to it once it has processed what stands before.
		case f.unreadable >= maxUnreadable:
			return fmt.Errorf("%w: %s: %w", ErrUnreadable, where, err)
		}
	default:
		if err := fatal(err); err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
	}
	f.log.WarnContext(ctx, "kafkaadapter: fetch failed, trying again", "offset", f.offset, "error", err)

	return nil
}

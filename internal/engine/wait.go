package engine

import (
	"context"
	"errors"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
)

// waitLine is how often the log, and EventPaused, tell of a wait that lasts.
const waitLine = time.Minute

// wait is for what has failed and is tried again. The zero value is for what has not failed yet.
type wait struct {
	failed      int
	since, told time.Time
}

// pause tells why something is tried again, waits as long as befits the number of failed tries, and
// reports whether ctx is still alive then.
func (w *worker) pause(ctx context.Context, p *wait, why consume.Event, message string, details ...any) bool {
	w.stand(ctx, p, why, message, details...)

	return backoff.Sleep(ctx, RetryPauses.Pause(p.failed))
}

// stand tells why the partition stands still, at first and once a minute.
func (w *worker) stand(ctx context.Context, p *wait, why consume.Event, message string, details ...any) {
	now := time.Now()
	if p.failed++; p.failed == 1 {
		p.since = now
	}
	if now.Sub(p.told) >= waitLine {
		p.told = now
		why.Kind, why.Duration = consume.EventPaused, now.Sub(p.since)
		w.observe(why)
		w.log.WarnContext(ctx, "consume: "+message, append(details, "offset", why.Offset, "since", why.Duration, "error", why.Err)...)
	}
}

// resume tells that it goes on, if it had to wait.
func (w *worker) resume(ctx context.Context, p *wait, offset int64) {
	if p.failed == 0 {
		return
	}
	waited := time.Since(p.since)
	*p = wait{}
	w.observe(consume.Event{Kind: consume.EventResumed, Offset: offset, Duration: waited})
	w.log.InfoContext(ctx, "consume: going on", "offset", offset, "waited", waited)
}

// repeat repeats what must succeed before the partition can go on, until it does, the error is
// final, or ctx ends.
func (w *worker) repeat(ctx context.Context, offset int64, message string, final func(error) bool, try func() error) error {
	var p wait
	for {
		err := try()
		switch {
		case err == nil:
			w.resume(ctx, &p, offset)

			return nil
		case ctx.Err() != nil, final(err), !w.pause(ctx, &p, consume.Event{Offset: offset, Err: err}, message):
			return err
		}
	}
}

// persist repeats a statement until it succeeds or ctx ends. Other errors than transient ones are
// returned.
func (w *worker) persist(ctx context.Context, what string, try func() error) error {
	final := func(err error) bool { return !idem.IsTransient(err) || disowned(err) }

	return w.repeat(ctx, None, "waiting for PostgreSQL to "+what, final, try)
}

// askBroker repeats a request until it is answered, refused for good or no longer wanted: then it
// returns nil, and the caller looks at the context.
func (w *worker) askBroker(revoked context.Context, what string, request func() error) error {
	final := func(err error) bool { return errors.Is(err, ErrOtherTopic) || fatal(err) }
	err := w.repeat(revoked, None, "waiting for Kafka to "+what, final, request)
	if revoked.Err() != nil {
		return nil //nolint:nilerr // See above.
	}

	return err
}

package engine

import (
	"context"
	"errors"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
)

// waitLine is how often the log has a line about a wait that lasts.
const waitLine = time.Minute

// wait is the state of something that is retried. The zero value is for something that has not
// failed yet.
type wait struct {
	failed      int
	since, told time.Time
	pause       standstill
}

// giveUp is deferred by callers whose wait can end without going on.
func (p *wait) giveUp() { p.pause.end(false) }

// standstill is a pause of the partition, for its hooks. The zero value has not begun.
type standstill struct {
	hook      watched[consume.PauseBegin, consume.PauseEnd]
	condition *condition // that is paused; nil if it has not begun
	number    int        // of the pause
}

// begin begins, or says why what has begun still lasts.
func (s *standstill) begin(ctx context.Context, w *worker, why consume.PauseBegin) {
	if s.condition != nil {
		s.condition.because(s.number, why)

		return
	}
	s.condition = w.condition
	s.number = s.condition.pause(why)
	_, s.hook = watch(ctx, w.config.Hooks.Pause, why)
}

// end ends what has begun.
func (s *standstill) end(goesOn bool) {
	if s.condition != nil {
		s.condition.resume(s.number)
		s.condition = nil
		s.hook.end(consume.PauseEnd{GoesOn: goesOn})
	}
}

// stands says where and why the partition stands still.
func (w *worker) stands(kind consume.PauseKind, offset int64, err error) consume.PauseBegin {
	return consume.PauseBegin{Place: w.at(offset), Kind: kind, Err: err}
}

// pause logs why something is tried again, waits for a time that grows with the number of failed
// tries, and reports whether ctx is still alive after it.
func (w *worker) pause(ctx context.Context, p *wait, why consume.PauseBegin, message string, details ...any) bool {
	w.stand(ctx, p, why, message, details...)

	return backoff.Sleep(ctx, RetryPauses.Pause(p.failed))
}

// stand logs why the partition stands still, at once and then once a minute.
func (w *worker) stand(ctx context.Context, p *wait, why consume.PauseBegin, message string, details ...any) {
	now := time.Now()
	if p.failed++; p.failed == 1 {
		p.since = now
	}
	p.pause.begin(ctx, w, why)
	if now.Sub(p.told) >= waitLine {
		p.told = now
		w.log.WarnContext(ctx, "consume: "+message, append(details, "offset", why.Offset, "since", now.Sub(p.since), "error", why.Err)...)
	}
}

// resume logs that the partition goes on, if it had to wait.
func (w *worker) resume(ctx context.Context, p *wait, offset int64) {
	if p.failed == 0 {
		return
	}
	waited := time.Since(p.since)
	p.pause.end(true)
	*p = wait{}
	w.log.InfoContext(ctx, "consume: going on", "offset", offset, "waited", waited)
}

// repeat repeats what must succeed before the partition can go on, until it does, the error is
// final, or ctx ends.
func (w *worker) repeat(ctx context.Context, kind consume.PauseKind, offset int64, message string, final func(error) bool, try func() error) error {
	var p wait
	defer p.giveUp()
	for {
		err := try()
		switch {
		case err == nil:
			w.resume(ctx, &p, offset)

			return nil
		case ctx.Err() != nil, final(err), !w.pause(ctx, &p, w.stands(kind, offset, err), message):
			return err
		}
	}
}

// persist repeats a statement until it succeeds or ctx ends. Other errors than transient ones are
// returned.
func (w *worker) persist(ctx context.Context, what string, try func() error) error {
	final := func(err error) bool { return !idem.IsTransient(err) || disowned(err) }

	return w.repeat(ctx, consume.PauseTransient, None, "waiting for PostgreSQL to "+what, final, try)
}

// askBroker repeats a request until it is answered, refused for good, or no longer wanted. In the
// last case it returns nil, and the caller must check the context.
func (w *worker) askBroker(revoked context.Context, what string, request func() error) error {
	final := func(err error) bool { return errors.Is(err, ErrOtherTopic) || fatal(err) }
	err := w.repeat(revoked, consume.PauseKafka, None, "waiting for Kafka to "+what, final, request)
	if revoked.Err() != nil {
		return nil //nolint:nilerr // See above.
	}

	return err
}

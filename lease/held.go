package lease

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
	"github.com/nova-events/idempotent-consumer/internal/tables"
)

// The states of a lease whose attempt has ended.
const (
	unknown  = "unknown"
	released = "released"
)

// held is an event whose lease this process has acquired.
type held struct {
	eventID, key, token string
	fingerprint         idem.Fingerprint

	attempts, unknown int
	ran               bool // the function was called
	decided           bool // an operator has the event run again, although an attempt may have taken effect

	// until is when the lease ends, by the local monotonic clock. Renewed is before the request that extended it
	// was sent, so that until is never later than what the database has.
	renewed, until time.Time
}

func (h *held) extended(sent time.Time, duration time.Duration) {
	h.renewed, h.until = sent, sent.Add(duration)
}

// lost returns the error that says that this lease is lost, or nil: functions and writes return those of other leases, too.
func (h *held) lost(err error) *LostError {
	var lost *LostError
	if errors.As(err, &lost) && lost.EventID == h.eventID {
		return lost
	}

	return nil
}

// grace is how long an acquisition goes on when its context has ended. Without an answer nobody would know whether there
// is a lease to end.
const grace = time.Second

// acquire begins an attempt of an event. Without an error either that is held, or the event is completed.
func (l *Leases) acquire(ctx context.Context, eventID string, fingerprint idem.Fingerprint) (h *held, done Done, err error) {
	token, err := uuid.NewRandom()
	if err != nil {
		return nil, Done{}, fmt.Errorf("lease: make a token: %w", err)
	}
	h = &held{eventID: eventID, key: idem.Key(eventID).String(), token: token.String(), fingerprint: fingerprint}
	ctx, end := begin(ctx, l.config.Hooks.Acquire, Op{Consumer: l.guard.Consumer(), EventID: eventID})
	defer func() {
		ended := AcquireEnd{Outcome: done.Outcome, Err: err}
		if h != nil {
			ended.Attempts, ended.Unknown = h.attempts, h.unknown
		}
		end(ended)
	}()

	var refusal error
	err = l.tables.Do(ctx, func(conn *pgxpool.Conn) error {
		ctx, cancel := backoff.Outlive(ctx, grace)
		defer cancel()
		if h.until.IsZero() { // If the answer to the first try is lost, the next one finds its token.
			h.extended(time.Now(), l.config.Duration)
		}
		seen, err := l.tryAcquire(ctx, l.tables.On(&exchange{conn: conn}), h)
		if err != nil {
			return err
		}
		done, refusal = l.judge(h, seen)
		if errors.As(refusal, new(*UndecidedError)) {
			return l.queries.LeaseNeedsDecision(ctx, l.tables.On(conn), db.LeaseNeedsDecisionParams{ConsumerID: l.tables.Consumer, Key: h.key})
		}
		h.attempts, h.unknown, h.fingerprint = int(seen.Attempts), int(seen.Unknown), idem.Fingerprint(seen.Fingerprint)
		h.decided = seen.NeedsDecision && l.config.Unknown.mayRerun()

		return nil
	})
	switch {
	case err != nil:
		return nil, Done{}, Harmless(fmt.Errorf("lease: acquire event %q: %w", eventID, err))
	case refusal != nil || done.Outcome != 0:
		return nil, done, refusal
	default:
		return h, Done{}, nil
	}
}

// tryAcquire acquires the lease if it is free, and tells what there is then. It writes nothing else, so nothing has to
// be taken back.
func (l *Leases) tryAcquire(ctx context.Context, conn db.DBTX, h *held) (db.LeaseLookRow, error) {
	params := db.LeaseAcquireParams{
		ConsumerID: l.tables.Consumer, Key: h.key, Token: h.token, Duration: l.config.Duration, TakesOver: l.config.Unknown.mayRerun(),
	}
	if h.eventID != h.key {
		params.EventID = &h.eventID
	}
	if h.fingerprint != 0 {
		f := int64(h.fingerprint)
		params.Fingerprint = &f
	}
	if err := l.queries.LeaseAcquire(ctx, conn, params); err != nil {
		return db.LeaseLookRow{}, err
	}

	return l.queries.LeaseLook(ctx, conn, db.LeaseLookParams{ConsumerID: l.tables.Consumer, Key: h.key, Token: h.token})
}

// judge says what the tables tell of an event. All is zero if the lease is the caller's.
func (l *Leases) judge(h *held, seen db.LeaseLookRow) (Done, error) {
	before := idem.Fingerprint(seen.Fingerprint)
	left := time.Duration(seen.LeftMicros) * time.Microsecond
	switch {
	case (seen.Claimed || seen.Leased) && before != 0 && h.fingerprint != 0 && before != h.fingerprint:
		return Done{}, &idem.CollisionError{EventID: h.eventID, Fingerprint: h.fingerprint, Processed: before, ProcessedAt: time.UnixMicro(seen.FirstMicros)}
	case seen.Claimed:
		return Done{Outcome: AlreadyProcessed, Result: Result{ContentType: seen.ContentType, Body: seen.Body}}, nil
	case seen.Mine:
		return Done{}, nil
	case seen.Leased && seen.State != released && left <= 0 && !l.config.Unknown.mayRerun():
		undecided := &UndecidedError{
			EventID: h.eventID, Attempts: int(seen.Attempts), Unknown: int(seen.Unknown), Since: time.UnixMicro(seen.UntilMicros), Err: errors.New(seen.Error),
		}
		if seen.State != unknown { // It is running, as far as the table knows.
			undecided.Unknown++
			undecided.Err = fmt.Errorf("lease: nothing was heard of attempt %d", seen.Attempts)
		}

		return Done{}, undecided
	default: // It may have been released or forgotten just now.
		return Done{}, &InProgressError{EventID: h.eventID, RetryAfter: max(left, 0)}
	}
}

// hold runs the function, while it extends the lease.
func (l *Leases) hold(ctx context.Context, h *held, a *Attempt, fn Func) (result Result, err error) {
	beating, stop := context.WithCancel(context.WithoutCancel(ctx)) // As long as the function runs, whoever has cancelled it.
	ctx, lose := context.WithCancelCause(ctx)
	defer lose(nil)
	var heart sync.WaitGroup
	heart.Go(func() { l.beat(beating, h, lose) })
	defer heart.Wait()
	defer stop()
	hooked, end := begin(ctx, l.config.Hooks.Run, Op{Consumer: l.guard.Consumer(), EventID: h.eventID, Attempt: h.attempts})
	err = errNoReturn
	defer func() { end(RunEnd{err}) }()
	defer a.end()
	result, err = l.run(hooked, h, a, fn)
	lost := h.lost(context.Cause(ctx))
	switch {
	case err == nil:
	case lost != nil:
		err = &LostError{EventID: h.eventID, Reason: lost.Reason, Err: err}
	case ctx.Err() != nil || !a.isSettled():
		err = Unknown(err)
	}

	return result, err
}

// run asks what became of earlier attempts, if that is to be asked and nobody has decided, and runs the function unless they took effect.
func (l *Leases) run(ctx context.Context, h *held, a *Attempt, fn Func) (Result, error) {
	if ask := l.config.Unknown.ask; ask != nil && a.Unknown > 0 && !h.decided {
		answer, err := ask(ctx, a)
		switch {
		case err != nil:
			return Result{}, Unknown(fmt.Errorf("lease: ask what became of earlier attempts: %w", err))
		case answer.result != nil:
			return *answer.result, nil
		case !answer.known:
			return Result{}, Unknown(errStillUnknown)
		}
		h.unknown, a.Unknown = 0, 0
	}
	h.ran = true

	return fn(ctx, a)
}

// beat extends the lease until ctx ends or the lease is lost.
func (l *Leases) beat(ctx context.Context, h *held, lose context.CancelCauseFunc) {
	third := l.config.Duration / 3
	for pause := time.Until(h.renewed.Add(third)); backoff.Sleep(ctx, pause); {
		sent := time.Now()
		mine, err := l.extend(ctx, h, min(third, time.Until(h.until)))
		lost := &LostError{EventID: h.eventID, Reason: errTaken}
		switch {
		case ctx.Err() != nil:
			return
		case mine:
			h.extended(sent, l.config.Duration)
			pause = time.Until(sent.Add(third))

			continue
		case err != nil && time.Now().Before(h.until):
			pause = min(third/10, time.Until(h.until))

			continue
		case err != nil:
			lost.Reason = fmt.Errorf("it could not be extended: %w", err)
		}
		l.log.WarnContext(ctx, "lease: lost while the function runs", "event_id", h.eventID, "attempt", h.attempts, "error", lost.Reason)
		lose(lost)

		return
	}
}

// extend reports whether the lease is still the caller's, and extends it.
func (l *Leases) extend(ctx context.Context, h *held, limit time.Duration) (mine bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err = l.tables.Do(ctx, func(conn *pgxpool.Conn) error {
		n, err := l.queries.LeaseExtend(ctx, l.tables.On(conn), db.LeaseExtendParams{
			Duration: l.config.Duration, ConsumerID: l.tables.Consumer, Key: h.key, Token: h.token,
		})
		mine = n == 1

		return err
	})

	return mine, err
}

// end ends the lease without completing the event. If that fails, the lease ends by itself, and the attempt counts as
// unknown.
func (l *Leases) end(ctx context.Context, h *held, state string, pause time.Duration, needsDecision bool, reason string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.config.Duration)
	defer cancel()
	err := l.tables.Do(ctx, func(conn *pgxpool.Conn) error {
		_, err := l.queries.LeaseEnd(ctx, l.tables.On(conn), db.LeaseEndParams{
			State: state, Pause: pause, Unknown: int32(h.unknown), Error: tables.CleanText(reason), //nolint:gosec // It came from there.
			NeedsDecision: needsDecision || h.decided && state == released, // The decision stands until an attempt may have taken effect.
			ConsumerID:    l.tables.Consumer, Key: h.key, Token: h.token,
		})

		return err
	})
	if err != nil {
		l.log.WarnContext(ctx, "lease: not ended, it ends by itself", "event_id", h.eventID, "attempt", h.attempts, "error", err)
	}
}

// complete ends the lease in the transaction that claims the event, with the result and the caller's writes. The end
// of ctx is no reason to stop at once: the effect has happened.
func (l *Leases) complete(ctx context.Context, h *held, a *Attempt, result Result) error {
	if err := result.check(l.config.MaxResultBytes); err != nil {
		return Unknown(err)
	}
	ctx, cancel := backoff.Outlive(ctx, l.config.Duration)
	defer cancel()
	outcome, err := l.guard.ProcessIfNew(ctx, h.eventID, func(ctx context.Context, tx pgx.Tx) error {
		n, err := l.queries.LeaseComplete(ctx, l.tables.On(tx), db.LeaseCompleteParams{
			ContentType: result.ContentType, Body: result.body(), ConsumerID: l.tables.Consumer, Key: h.key, Token: h.token,
		})
		switch {
		case err != nil:
			return fmt.Errorf("lease: store the result: %w", err)
		case n == 0:
			return &LostError{EventID: h.eventID, Reason: errTaken}
		}

		return a.write(ctx, tx)
	}, idem.WithFingerprint(h.fingerprint))
	switch lost := h.lost(err); {
	case lost != nil:
		return lost
	case err != nil:
		return Unknown(fmt.Errorf("lease: the effect has happened, but the event could not be completed: %w", err))
	case outcome != idem.Processed:
		return &LostError{EventID: h.eventID, Reason: errTaken}
	default:
		return nil
	}
}

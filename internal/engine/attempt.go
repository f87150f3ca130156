package engine

import (
	"context"
	"errors"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
)

// verdict is the result of an attempt.
type verdict uint8

const (
	settled   verdict = iota // it has taken effect, by this attempt or before
	lost                     // the partition is not this owner's any more, or not as this owner knew it
	abandoned                // the next owner of the partition takes care of it
	collided                 // the event id was processed with another value
	refused                  // the guard cannot work
	failed                   // no other attempt can help
	waiting                  // the infrastructure has failed: another try, which does not count as an attempt
	again                    // the handler has failed: another attempt, if one is left
)

// judge returns the verdict on the error of an attempt. ran says that the handler was called.
func judge(revoked, work context.Context, err error, ran bool) verdict {
	transient := idem.IsTransient(err)
	switch {
	case err == nil:
		return settled
	case disowned(err):
		return lost
	case work.Err() != nil, transient && revoked.Err() != nil:
		return abandoned
	case collides(err):
		return collided
	case transient:
		return waiting
	case !ran && !errors.Is(err, idem.ErrInvalidEventID):
		return refused
	case !ran, consume.IsPermanent(err):
		return failed
	default:
		return again
	}
}

// disowned reports whether err says that this owner no longer owns the partition, or that the
// partition is not as this owner knew it. It must then be acquired anew.
func disowned(err error) bool {
	return (errors.Is(err, idem.ErrFenced) || errors.Is(err, idem.ErrRewound) || errors.Is(err, idem.ErrCheckpointGone)) && !fromHandler(err)
}

// collides reports whether err says that the record's event id was processed with another value.
func collides(err error) bool { return !fromHandler(err) && errors.As(err, new(*idem.CollisionError)) }

// fromHandler reports whether err is what the handler returned: what it wraps may be of another guard that the handler works with,
// and says nothing about this one's record and partition.
func fromHandler(err error) bool { return errors.As(err, new(*idem.HandlerError)) }

// trial is a record, or a dead letter, that is tried until it takes effect or is given up.
type trial struct {
	m     consume.Message // Attempt counts the runs of the handler
	run   func(m consume.Message, handler idem.Handler) (idem.Outcome, error)
	prior error // of an attempt that was already made; run is not called for it

	// another says whether there is another attempt after one that failed through the handler, and
	// after which pause. It also logs that.
	another func(m consume.Message, took time.Duration, err error) (pause time.Duration, ok bool)

	told []any // details for the log
}

// try makes attempts until there is a final verdict, which is neither waiting nor again.
func (w *worker) try(revoked, work context.Context, t *trial) (v verdict, outcome idem.Outcome, took time.Duration, err error) {
	var p wait
	defer p.giveUp()
	for {
		ran := fromHandler(t.prior)
		t.m.Attempt++
		started := time.Now()
		if err = t.prior; err == nil {
			outcome, err = t.run(t.m, w.handler(t.m, &ran))
		}
		took, t.prior = time.Since(started), nil
		v = judge(revoked, work, err, ran)
		if !ran || v == waiting {
			t.m.Attempt-- // It was not the handler's fault.
		}
		switch v {
		case waiting:
			w.pause(revoked, &p, w.stands(consume.PauseTransient, t.m.Offset, err), "not processed for now, trying again", t.told...)
		case again:
			w.resume(revoked, &p, t.m.Offset)
			pause, ok := t.another(t.m, took, err)
			if !ok {
				return failed, outcome, took, err
			}
			backoff.Sleep(revoked, pause)
		case settled, collided, failed:
			w.resume(revoked, &p, t.m.Offset)

			return v, outcome, took, err
		case lost, abandoned, refused:
			return v, outcome, took, err
		}
		if !w.mayBegin(revoked) {
			return abandoned, outcome, took, err
		}
	}
}

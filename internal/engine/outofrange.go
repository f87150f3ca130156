package engine

import (
	"context"
	"fmt"

	"github.com/nova-events/idempotent-consumer/consume"
)

// outOfRangeError says that the next offset is not in the log.
type outOfRangeError struct {
	offset    int64
	truncated int64 // where the log was truncated, before the offset; or None
	epoch     int32 // of the leader that wrote the record before that
}

func (e *outOfRangeError) Error() string { return fmt.Sprintf("offset %d is out of range", e.offset) }

// skip finds out why an offset is not in the log, and goes on at another one if Config.OnOutOfRange
// says so.
func (w *worker) skip(revoked context.Context, away *outOfRangeError) (int64, error) {
	var first, last int64
	err := w.askBroker(revoked, "find the ends of the log", func() error {
		err := w.source.CheckTopic(revoked)
		if err != nil {
			return err
		}
		first, last, err = w.ends(revoked)

		return err
	})
	if err != nil || revoked.Err() != nil {
		return 0, err
	}

	recreated := w.owner.Recreated()
	var (
		reason   string
		earliest = first // where consume.SkipToEarliest goes on
	)
	switch {
	case recreated:
		reason = ErrOtherTopic.Error()
	case away.offset < first && away.offset == w.start:
		return first, w.moveTo(revoked, first, None, false) // The log has moved on since its beginning was asked for.
	case away.offset < first:
		reason = fmt.Sprintf("%d offsets have expired unread", first-away.offset)
	case away.truncated != None:
		reason = fmt.Sprintf("the log was truncated at offset %d, before what is processed", away.truncated)
		earliest = max(first, away.truncated)
	case away.offset > last:
		reason = "the log has lost its end, or the group's offset was set beyond it"
		// The log is processed as far as the checkpoint or the group has come.
		earliest = last
		if w.checkpoints() && w.owner.Next() >= first && w.owner.Next() <= last {
			earliest = w.owner.Next()
		}
	default: // The log has moved on meanwhile.
		var p wait
		defer p.giveUp()
		if w.pause(revoked, &p, w.stands(consume.PauseKafka, away.offset, away), "the offset is in the log, trying again") {
			w.resume(revoked, &p, away.offset)
		}

		return away.offset, nil
	}
	to := earliest
	switch w.config.OnOutOfRange {
	case consume.FailOutOfRange:
		return 0, fmt.Errorf("%w: %v at offset %d: %s; the log holds %d to %d; decide where to go on: set Config.OnOutOfRange, or set the checkpoint (idemctl checkpoint reset), in Mode consume.ByEventID the group's offset (kafka-consumer-groups.sh --reset-offsets)",
			consume.ErrOffsetOutOfRange, w.partition, away.offset, reason, first, last)
	case consume.SkipToLatest:
		to = last
	case consume.SkipToEarliest:
	}
	w.log.ErrorContext(revoked, "consume: offset out of range, going on at another one", "offset", away.offset, "reason", reason, "to", to)

	epoch := int32(None)
	if to == away.truncated {
		epoch = away.epoch
	}

	return to, w.moveTo(revoked, to, epoch, recreated || w.owner.Next() > to)
}

// checkEpoch checks whether the log still has the records that were processed.
func (w *worker) checkEpoch(revoked context.Context) error {
	return w.checkLog(revoked, w.owner.Next(), w.owner.LeaderEpoch())
}

// checkLog checks whether the log still has the records before an offset, the last of which has a leader epoch.
// After an unclean election the log can be truncated, and filled again beyond the offset (KIP-320). Then checkLog
// returns an *outOfRangeError.
func (w *worker) checkLog(revoked context.Context, next int64, epoch int32) error {
	if epoch < 0 {
		return nil
	}
	latest, end := int32(None), int64(None)
	err := w.askBroker(revoked, "check that the log was not truncated", func() error {
		var err error
		latest, end, err = w.source.EpochEnd(revoked, epoch)

		return err
	})
	if err == nil && latest >= 0 && end >= 0 && end < next {
		return &outOfRangeError{offset: next, truncated: end, epoch: latest}
	}

	return err
}

// moveTo stores where to go on, with the leader epoch of the record before that. The checkpoint comes first, because it
// decides.
func (w *worker) moveTo(revoked context.Context, to int64, epoch int32, reset bool) error {
	w.owner.SetLeaderEpoch(epoch)
	move := w.owner.Advance
	if reset {
		move = w.owner.Reset
	}
	err := w.persist(revoked, "move the checkpoint", func() error { return move(revoked, to) })
	if err == nil {
		w.tell(revoked, to, consume.Event{Kind: consume.EventSkipped}) // The next owner would not, who begins at the checkpoint.
		err = w.source.Commit(revoked, w.place(to))
	}
	switch {
	case disowned(err):
		return err
	case err != nil && revoked.Err() == nil:
		return fmt.Errorf("consume: go on at offset %d of %v: %w", to, w.partition, err)
	}

	return nil
}

// ends returns the offset of the first record, and the one after the last.
func (w *worker) ends(ctx context.Context) (first, last int64, err error) {
	all, err := w.source.Ends(ctx, w.partition.Topic, w.partition.Number)
	own := all[w.partition.Number]

	return own.First, own.Last, err
}

package idem

import (
	"context"
	"time"
)

// waiting reports why a call waits: once a second to the caller's function, or once a minute to the
// log.
type waiting struct {
	guard     *Guard
	partition Partition
	told      func(reason error)
	reason    error
	next      time.Time // when told is to be called again
	nextLine  time.Time // when the log is to have another line
}

func newWaiting(g *Guard, p Partition, told func(reason error)) *waiting {
	return &waiting{guard: g, partition: p, told: told}
}

func (w *waiting) tell(ctx context.Context, reason error) {
	now := time.Now()
	w.reason = reason
	if w.told != nil && !now.Before(w.next) {
		w.told(reason)
		w.next = now.Add(time.Second)
	}
	if !now.Before(w.nextLine) {
		w.guard.log.WarnContext(ctx, "idem: waiting to acquire a partition", "partition", w.partition.String(), "error", reason)
		w.nextLine = now.Add(time.Minute)
	}
}

// last returns the latest reason to wait, or err if there was none.
func (w *waiting) last(err error) error {
	if w.reason != nil {
		return w.reason
	}

	return err
}

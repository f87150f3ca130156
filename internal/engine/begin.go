package engine

import (
	"context"
	"errors"
	"time"

	"github.com/nova-events/idempotent-consumer/idem"
)

// errKillsProcesses is the reason of a dead letter whose record was never seen to fail.
var errKillsProcesses = errors.New("the process exited without reporting an error each time that it began with this record")

// endTimeout is how long a worker that ends tries to take the note of its first record back.
const endTimeout = time.Second

// begun is a note that this owner has begun with what is at an offset.
type begun struct {
	offset  int64
	owners  int  // so many in a row have
	decoded bool // one of them before has lived to see the record
}

// notBegun says that there is no note that has not served its purpose.
var notBegun = begun{offset: None}

// begin notes, for the first record of this owner, that it is tried now, and returns how many
// owners in a row have tried it: a record that kills one owner after the other is found so. The
// later ones need no note: whoever is killed by one of them leaves it to the next owner as its
// first. For the first of all the fetcher has made the note; that it could be decoded is added to it
// once that is to be told from what kills the process before.
func (w *worker) begin(revoked context.Context, offset int64) (owners int, err error) {
	switch {
	case w.owner == nil || w.alive:
		return 0, nil
	case w.begun == notBegun:
	case w.begun.owners < w.config.Failure.MaxStarts || w.begun.decoded:
		return w.begun.owners, nil
	default:
		offset = w.begun.offset
	}
	noted, err := w.note(revoked, offset, func(o *idem.Owner, ctx context.Context, offset int64) (int, bool, error) {
		n, err := o.Begin(ctx, offset)

		return n, true, err //nolint:wrapcheck // The caller judges it.
	})
	if err == nil {
		w.begun = noted
	}

	return noted.owners, err
}

// note makes a note.
func (w *worker) note(revoked context.Context, offset int64, begin func(*idem.Owner, context.Context, int64) (int, bool, error)) (begun, error) {
	b := begun{offset: offset}
	err := w.persist(revoked, "note the start", func() error {
		var err error
		b.owners, b.decoded, err = begin(w.owner, revoked, offset)

		return err
	})

	return b, err
}

// endInOrder takes the note back: whoever comes next begins anew with the record.
func (w *worker) endInOrder(ctx context.Context) {
	if w.begun == notBegun {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	if err := w.owner.End(ctx, w.begun.offset); err != nil {
		w.log.WarnContext(ctx, "consume: start of a record not taken back", "offset", w.begun.offset, "error", err)
	}
}

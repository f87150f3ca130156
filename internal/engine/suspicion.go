package engine

import (
	"context"
	"errors"
	"time"
)

// errKillsProcesses is the reason of a dead letter whose record was never seen to fail.
var errKillsProcesses = errors.New("the process exited without reporting an error each time that it began with this record")

// endTimeout is how long a worker that ends tries to clear the note of its first record.
const endTimeout = time.Second

// note says that this owner has begun with what is at an offset (idem.Owner.Begin).
type note struct {
	offset  int64
	owners  int  // so many in a row have
	decoded bool // one of them before has lived to see the record
}

// noNote says that there is no note that is still needed.
var noNote = note{offset: None}

// suspicion is what an owner knows of whether its records kill processes. The owner suspects its first
// record, which may have killed the owner before. When that record takes effect or fails, the suspicion
// ends: if a later record kills this owner, it is the first one of the next owner.
type suspicion struct {
	note     note // of the first record, while that is not done with
	isolated int  // so many records are still to be processed one by one
	lifted   bool
}

func newSuspicion() suspicion { return suspicion{note: noNote} }

// isolate makes the worker process the next n records one by one: one of them has killed an owner.
func (s *suspicion) isolate(n int) { s.isolated = n }

// alone reports whether the next record is to be processed alone.
func (s *suspicion) alone() bool { return s.isolated > 0 }

// next begins with a record that is processed alone.
func (s *suspicion) next() { s.isolated = max(0, s.isolated-1) }

// settle says that the noted record is settled. ran says that its handler ran, and that the process
// has survived it.
func (s *suspicion) settle(ran bool) {
	s.note = noNote
	s.lifted = s.lifted || ran && s.isolated == 0
}

// begin notes that the first record of this owner is tried now, and returns how many owners in a
// row have tried it. So a record that kills one owner after the other is found. The fetcher has
// noted the start before it decoded the record. begin adds to that note that the record was
// decoded, if the two cases must be told apart.
func (w *worker) begin(revoked context.Context, offset int64) (owners int, err error) {
	known := w.suspect.note
	switch {
	case w.suspect.lifted:
		return 0, nil
	case known == noNote:
	case known.owners < w.config.Failure.MaxStarts || known.decoded:
		return known.owners, nil
	default:
		offset = known.offset
	}
	noted := note{offset: offset, decoded: true}
	err = w.persist(revoked, noting, func() error {
		noted.owners, err = w.owner.Begin(revoked, offset)

		return err
	})
	if err == nil {
		w.suspect.note = noted
	}

	return noted.owners, err
}

// noting is what waits for PostgreSQL while a note is made.
const noting = "note the start"

// endInOrder clears the note: the next owner counts the record from the start.
func (w *worker) endInOrder(ctx context.Context) {
	if w.suspect.note == noNote {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	if err := w.owner.End(ctx, w.suspect.note.offset); err != nil {
		w.log.WarnContext(ctx, "consume: the mark of a record's start could not be cleared", "offset", w.suspect.note.offset, "error", err)
	}
}

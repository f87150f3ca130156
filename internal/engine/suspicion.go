package engine

import (
	"context"
	"errors"
	"time"
)

// errKillsProcesses is the reason of a dead letter whose record was never seen to fail.
var errKillsProcesses = errors.New("the process exited without reporting an error each time that it began with this record")

// endTimeout is how long a worker that ends tries to take the note of its first record back.
const endTimeout = time.Second

// note says that this owner has begun with what is at an offset (idem.Owner.Begin).
type note struct {
	offset  int64
	owners  int  // so many in a row have
	decoded bool // one of them before has lived to see the record
}

// noNote says that there is none that has not served its purpose.
var noNote = note{offset: None}

// suspicion is what an owner knows of whether its records kill processes. It begins with suspecting
// the first one: that may have been the end of the owner before. Its first record that takes effect, or
// fails, lifts the suspicion: whoever is killed by a later one leaves it to the next owner as its first.
type suspicion struct {
	note     note // of the first record, while that is not done with
	isolated int  // so many records are still to be processed one by one
	lifted   bool
}

func newSuspicion() suspicion { return suspicion{note: noNote} }

// isolate has the next n records processed one by one: one of them has killed an owner.
func (s *suspicion) isolate(n int) { s.isolated = n }

// alone reports whether the next record is to be processed alone.
func (s *suspicion) alone() bool { return s.isolated > 0 }

// next begins with a record that is processed alone.
func (s *suspicion) next() { s.isolated = max(0, s.isolated-1) }

// settle notes that the record that was begun with is done with. ran says that this was by its
// handler, which the process has survived.
func (s *suspicion) settle(ran bool) {
	s.note = noNote
	s.lifted = s.lifted || ran && s.isolated == 0
}

// begin notes, for the first record of this owner, that it is tried now, and returns how many
// owners in a row have tried it: a record that kills one owner after the other is found so. For the
// first of all the fetcher has made the note; that it could be decoded is added to it once that is
// to be told from what kills the process before.
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

// endInOrder takes the note back: whoever comes next begins anew with the record.
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

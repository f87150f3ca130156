package modelpg

import (
	"context"
	"slices"
	"time"
)

// lock is a row's or an advisory lock, of transactions. Who waits is served in the order of arrival.
type lock struct {
	exclusive *tx
	shared    []*tx
	queue     []*waiter
}

// waiter is a transaction that waits for a lock.
type waiter struct {
	tx        *tx
	exclusive bool
	wake      chan struct{} // holds a token after something has changed
}

// blockers are the transactions that keep t from having the lock.
func (l *lock) blockers(t *tx, exclusive bool) []*tx {
	var others []*tx
	if l.exclusive != nil && l.exclusive != t {
		others = append(others, l.exclusive)
	}
	for _, holder := range l.shared {
		if exclusive && holder != t {
			others = append(others, holder)
		}
	}

	return others
}

func (l *lock) isHeldBy(t *tx) bool { return l.exclusive == t || slices.Contains(l.shared, t) }

// take gives the lock to a transaction, waiting for it if need be. The caller has the server's mutex, which is
// given up meanwhile.
func (l *lock) take(t *tx, exclusive bool) error {
	if l.exclusive == t || !exclusive && slices.Contains(l.shared, t) {
		return nil
	}
	if len(l.blockers(t, exclusive)) > 0 || len(l.queue) > 0 && !l.isHeldBy(t) {
		if err := l.wait(t, exclusive); err != nil {
			return err
		}
	}
	if exclusive {
		l.exclusive = t
	} else {
		l.shared = append(l.shared, t)
	}
	t.locks = append(t.locks, l)

	return nil
}

// wait waits until the lock can be had.
func (l *lock) wait(t *tx, exclusive bool) error {
	w := &waiter{tx: t, exclusive: exclusive, wake: make(chan struct{}, 1)}
	l.queue = append(l.queue, w)
	t.waitsFor = l
	defer func() {
		t.waitsFor = nil
		l.queue = slices.DeleteFunc(l.queue, func(other *waiter) bool { return other == w })
		l.wakeFirst()
	}()
	s := t.session
	ctx, cancel := s.statement, context.CancelFunc(func() {})
	if t.lockTimeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, t.lockTimeout)
	}
	defer cancel()
	for l.queue[0] != w && !l.isHeldBy(t) || len(l.blockers(t, exclusive)) > 0 {
		if t.deadlocked() {
			return failure("40P01", "deadlock detected")
		}
		s.server.mu.Unlock()
		select {
		case <-w.wake:
		case <-ctx.Done():
		}
		s.server.mu.Lock()
		switch {
		case s.ended != nil:
			return s.ended
		case s.statement.Err() != nil:
			return failure("57014", "canceling statement due to user request")
		case ctx.Err() != nil:
			return failure("55P03", "canceling statement due to lock timeout")
		}
	}

	return nil
}

// wakeFirst has the first that waits look again.
func (l *lock) wakeFirst() {
	if len(l.queue) > 0 {
		select {
		case l.queue[0].wake <- struct{}{}:
		default:
		}
	}
}

// drop takes the lock from a transaction that has ended.
func (l *lock) drop(t *tx) {
	if l.exclusive == t {
		l.exclusive = nil
	}
	l.shared = slices.DeleteFunc(l.shared, func(holder *tx) bool { return holder == t })
	l.wakeFirst()
}

// deadlocked reports whether t waits for itself.
func (t *tx) deadlocked() bool {
	seen := map[*tx]bool{}
	var reaches func(from *tx) bool
	reaches = func(from *tx) bool {
		if from.waitsFor == nil || seen[from] {
			return false
		}
		seen[from] = true
		next := from.waitsFor.blockers(from, slices.ContainsFunc(from.waitsFor.queue, func(w *waiter) bool { return w.tx == from && w.exclusive }))
		for _, w := range from.waitsFor.queue {
			if w.tx == from {
				break
			}
			next = append(next, w.tx)
		}

		return slices.Contains(next, t) || slices.ContainsFunc(next, reaches)
	}

	return reaches(t)
}

// tx is a transaction.
type tx struct {
	session     *session
	explicit    bool // by BEGIN
	failed      bool
	began       time.Time
	lockTimeout time.Duration
	locks       []*lock
	changed     []cell
	waitsFor    *lock
}

// commit makes its changes visible.
func (t *tx) commit() {
	var undo []func()
	for _, c := range t.changed {
		undo = append(undo, c.commit())
	}
	s := t.session.server
	if len(undo) > 0 {
		s.commits = append(s.commits, undo)
	}
	t.end()
}

// fail undoes what it has done, at once; it answers no other statement.
func (t *tx) fail() {
	t.failed = true
	t.release()
}

// end ends it, without its changes unless they are committed.
func (t *tx) end() {
	t.release()
	t.session.tx = nil
}

func (t *tx) release() {
	for _, c := range t.changed {
		c.forget()
	}
	for _, l := range t.locks {
		l.drop(t)
	}
	t.changed, t.locks = nil, nil
}

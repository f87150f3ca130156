package modelpg

import (
	"cmp"
	"maps"
	"slices"
)

// cell is a row as transactions see it.
type cell interface {
	commit() (undo func())
	forget()
}

// row is a row, or the place of one that is not there.
type row[V any] struct {
	lock

	committed, pending *V
	changed            bool // pending counts, for the transaction that holds the lock
}

func (r *row[V]) commit() func() {
	former := r.committed
	r.committed = r.pending

	return func() { r.committed = former }
}

func (r *row[V]) forget() { r.pending, r.changed = nil, false }

// seen is what a transaction sees.
func (r *row[V]) seen(t *tx) *V {
	if r.changed && r.exclusive == t {
		return r.pending
	}

	return r.committed
}

// table holds rows by their primary keys.
type table[K comparable, V any] map[K]*row[V]

func (tb table[K, V]) at(key K) *row[V] {
	r := tb[key]
	if r == nil {
		r = new(row[V])
		tb[key] = r
	}

	return r
}

// read returns a row as a statement of the transaction sees it, or nil.
func (tb table[K, V]) read(t *tx, key K) *V {
	if r := tb[key]; r != nil {
		return r.seen(t)
	}

	return nil
}

// hold locks a row that is there and returns it, or nil: FOR UPDATE, and what UPDATE and DELETE begin with. Who
// sees no row locks none.
func (tb table[K, V]) hold(t *tx, key K) (*V, error) {
	if tb.read(t, key) == nil {
		return nil, nil //nolint:nilnil // No row is no error.
	}
	err := tb[key].take(t, true)

	return tb[key].seen(t), err
}

// share is hold FOR SHARE.
func (tb table[K, V]) share(t *tx, key K) (*V, error) {
	if tb.read(t, key) == nil {
		return nil, nil //nolint:nilnil // No row is no error.
	}
	err := tb[key].take(t, false)

	return tb[key].seen(t), err
}

// put changes a row that the transaction holds; nil deletes it.
func (tb table[K, V]) put(t *tx, key K, v *V) {
	r := tb.at(key)
	if !r.changed {
		t.changed = append(t.changed, r)
	}
	r.pending, r.changed = v, true
}

// insert inserts a row unless there is one, and reports whether it did. A transaction in progress that has
// inserted, changed or deleted it is waited for.
func (tb table[K, V]) insert(t *tx, key K, v V) (bool, error) {
	r := tb.at(key)
	if r.exclusive != t && !r.changed && r.committed != nil {
		return false, nil // Locked perhaps, but there.
	}
	held := r.isHeldBy(t)
	if err := r.take(t, true); err != nil {
		return false, err
	}
	if r.seen(t) != nil {
		if !held { // It was only waited for.
			r.drop(t)
			t.locks = slices.DeleteFunc(t.locks, func(l *lock) bool { return l == &r.lock })
		}

		return false, nil
	}
	tb.put(t, key, &v)

	return true, nil
}

// select_ returns the keys of the rows that a transaction sees and that match, in the order of less.
func (tb table[K, V]) where(t *tx, match func(K, *V) bool, compare func(a, b K) int) []K {
	return slices.SortedFunc(func(yield func(K) bool) {
		for key := range maps.Keys(tb) {
			if v := tb.read(t, key); v != nil && match(key, v) && !yield(key) {
				return
			}
		}
	}, compare)
}

type consumer struct {
	name, retention          string
	boundCluster, boundGroup *string
	pausedAt                 int64
	pausedBy, pauseReason    string
	isPaused                 bool
}

// place names a checkpoint, or that of a lane.
type place struct {
	consumer        int64
	topic           string
	partition, lane int64
}

func comparePlaces(a, b place) int {
	return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition), cmp.Compare(a.lane, b.lane))
}

type checkpoint struct {
	next, epoch, resetEpoch          int64
	token, topicID, startedBy, owner *string
	leaderEpoch, startedOffset       *int64
	starts                           int64
	startedDecoded                   bool
}

// eventKey names a claim.
type eventKey struct {
	consumer int64
	key      string
}

type event struct {
	claimID           string
	eventID, metadata *string
	fingerprint       *int64
	processed         int64 // microseconds since 1970
}

// letterKey names a dead letter.
type letterKey struct {
	consumer int64
	id       string
}

type letter struct {
	state, topic, topicID, key, failure string
	partition, offset, attempts, starts int64
	eventID, claimID                    *string
	keyHash                             *int64
	copied                              bool
	time, recordKey, value              *string
	headerKeys, headerValues            *string
}

func (l *letter) isUnresolved() bool {
	return l.state == "open" || l.state == "parked" || l.state == "replay"
}

// Effect is what a handler has written (the statement Effect).
type Effect struct {
	Partition int32
	Offset    int64
	EventID   string
	Replay    bool
}

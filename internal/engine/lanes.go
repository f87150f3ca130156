package engine

import (
	"context"
	"hash/maphash"
	"sync"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
)

// lanes process the records of one partition in several goroutines: those of one key always in the same and in their
// order. Each lane is a worker with a checkpoint of its own (idem.Owner.Lanes), so that none waits for another, and
// reports which of its records are completed. What counts for the partition is the prefix of the log that is
// completed without a gap: its end is committed to Kafka, and the checkpoint is advanced to it. If another owner gets
// completed records from behind the prefix, it knows them by their event ids.
//
// The dispatcher is the worker of the partition. How far it may be ahead of the prefix is bounded
// by Config.LookAhead and Config.BatchBytes.
type lanes struct {
	config  *consume.Config
	queues  []chan *inFlight
	seed    maphash.Seed
	keyless uint64 // counts the records without a key, which any lane can take
	done    func(next int64)

	lost    context.Context //nolint:containedctx // It is theirs: it ends when the partition is revoked or a lane has failed.
	cancel  context.CancelFunc
	running sync.WaitGroup

	settling *time.Ticker
	settle   func() error  // is called when settling ticks
	room     chan struct{} // holds a token after the prefix has moved
	closing  sync.Once

	mu     sync.Mutex
	window []*inFlight // what is behind the prefix, in the order of the log
	bytes  int         // of the records in it
	next   int64       // where the prefix ends; None before the first record
	err    error       // why the first lane failed
}

// inFlight is a record on its way through a lane, or an offset without a record.
type inFlight struct {
	record    consume.Record
	next      int64 // the offset behind it
	bytes     int
	completed bool

	release func() // of an offset without a record: nothing before it is used any more
}

func newLanes(revoked, work context.Context, w *worker, owners []*idem.Owner) *lanes {
	lost, cancel := context.WithCancel(revoked)
	l := &lanes{
		config: w.config, queues: make([]chan *inFlight, w.config.Lanes.Count), seed: maphash.MakeSeed(), done: w.prefixDone,
		settling: w.settling, settle: func() error { return w.settleLanes(revoked) },
		lost: lost, cancel: cancel, room: make(chan struct{}, 1), next: None,
	}
	for i := range l.queues {
		queue := make(chan *inFlight, w.config.Lanes.LookAhead) // It can always take what the window can.
		l.queues[i] = queue
		l.running.Go(func() { l.run(work, w.lane(owners[i]), queue) })
	}

	return l
}

// run is a lane.
func (l *lanes) run(work context.Context, w *worker, queue <-chan *inFlight) {
	var current *inFlight
	w.done = func(int64) { l.complete(current) }
	defer w.engine.pool.add(w)()
	returned := false
	defer func() {
		if !returned {
			l.fail(w.exitedOr(consume.ErrHandlerExited))
		}
	}()
	for current = range queue {
		if !w.mayBegin(l.lost) { //nolint:contextcheck // It ends when the partition is revoked or a lane has failed.
			continue // The next owner of the partition takes care of it.
		}
		w.condition.work(w)
		if err := w.process(l.lost, work, current.record, nil); err != nil {
			l.fail(err)
		}
		w.condition.rest(w)
	}
	returned = true
}

// dispatch gives a record to its lane, as soon as the look-ahead allows. It returns false if the
// partition is revoked or a lane has failed.
func (l *lanes) dispatch(record consume.Record) bool {
	f := &inFlight{record: record, next: record.Offset + 1, bytes: len(record.Key) + len(record.Value)}
	for !l.enter(f) {
		select {
		case <-l.room:
		case <-l.lost.Done():
			return false
		case <-l.settling.C:
			if err := l.settle(); err != nil {
				l.fail(err)
			}
		}
	}
	lane := l.keyless
	if record.Key != nil {
		lane = maphash.Bytes(l.seed, record.Key)
	} else {
		l.keyless++
	}
	l.queues[lane%uint64(len(l.queues))] <- f

	return true
}

// enter appends a record to the window, if there is room.
func (l *lanes) enter(f *inFlight) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.window) > 0 && (len(l.window) >= l.config.Lanes.LookAhead || l.bytes+f.bytes > l.config.Batch.Bytes) {
		return false
	}
	l.window = append(l.window, f)
	l.bytes += f.bytes

	return true
}

// reach says that all records of the log before next were dispatched, and that release is to be
// called when all of them are completed.
func (l *lanes) reach(next int64, release func()) {
	l.mu.Lock()
	l.window = append(l.window, &inFlight{next: next, release: release})
	last := l.window[len(l.window)-1]
	l.mu.Unlock()
	l.complete(last)
}

// keep has release called when the lanes have finished: they may still have records of a batch of which only a part was dispatched.
func (l *lanes) keep(release func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.window = append(l.window, &inFlight{release: release})
}

// complete says that a record is completed, and moves the prefix if it was the first one that was
// not.
func (l *lanes) complete(f *inFlight) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f.completed, f.record = true, consume.Record{}
	completed := 0
	for completed < len(l.window) && l.window[completed].completed {
		l.bytes -= l.window[completed].bytes
		l.next = l.window[completed].next
		if release := l.window[completed].release; release != nil {
			release()
		}
		completed++
	}
	if completed == 0 {
		return
	}
	l.window = l.window[completed:]
	l.done(l.next) // With the lock, so that it never goes back.
	select {
	case l.room <- struct{}{}:
	default:
	}
}

// prefix returns the end of what is completed without a gap, or None.
func (l *lanes) prefix() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()

	return l.next
}

// isEmpty reports whether no record is in flight.
func (l *lanes) isEmpty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()

	return len(l.window) == 0
}

// fail stops all lanes after their current records.
func (l *lanes) fail(err error) {
	l.mu.Lock()
	if l.err == nil {
		l.err = err
	}
	l.mu.Unlock()
	l.cancel()
}

// failure returns why a lane failed, or nil.
func (l *lanes) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()

	return l.err
}

// finish waits until the lanes have processed what they have queued, or only their current records
// if they were stopped.
func (l *lanes) finish() {
	l.closing.Do(func() {
		for _, queue := range l.queues {
			close(queue)
		}
	})
	l.running.Wait()
	for _, f := range l.window {
		if f.release != nil {
			f.release()
		}
	}
}

// laneOwners returns an owner for each lane; nil ones in mode consume.ByEventID.
func (w *worker) laneOwners(revoked context.Context) (owners []*idem.Owner, err error) {
	err = w.persist(revoked, "begin with lanes", func() error {
		owners, err = w.owner.Lanes(revoked, w.config.Lanes.Count)

		return err
	})

	return owners, err
}

// lane returns a worker for some of the partition's records. The partition's worker finds out which
// of them kills processes.
func (w *worker) lane(owner *idem.Owner) *worker {
	lane := &worker{
		engine: w.engine, source: w.source, config: w.config, guard: w.guard, partition: w.partition, owner: owner,
		log: w.log, once: w.once, suspect: suspicion{note: noNote, lifted: true}, breaker: w.breaker, condition: w.condition,
	}
	lane.tells = idem.WithDuplicate(&lane.duplicate)

	return lane
}

// prefixDone commits the prefix to Kafka if there is no checkpoint. Otherwise settleLanes does, once
// the checkpoint has advanced.
func (w *worker) prefixDone(next int64) {
	w.condition.reach(next)
	if !w.checkpoints() {
		w.commit(next)
	}
}

// dispatch gives a record to the lanes, and returns 1 if it did. It does so only if the partition's
// last owner did not begin with the same record.
func (w *worker) dispatch(revoked context.Context, record consume.Record) (int, error) {
	if starts, err := w.begin(revoked, record.Offset); err != nil {
		return 0, w.endOf(revoked, consume.Message{Record: record}, err)
	} else if starts > 1 {
		// It did not live to end that one, or one that was in another lane. One by one they will
		// show which.
		w.suspect.isolate(w.config.Lanes.LookAhead)

		return 0, nil
	}
	if !w.lanes.dispatch(record) {
		return 0, w.lanes.failure()
	}

	return 1, nil
}

// settleLanes advances the checkpoint to the lanes' prefix.
func (w *worker) settleLanes(ctx context.Context) error {
	prefix := w.lanes.prefix()
	if n := w.suspect.note; n != noNote && prefix > n.offset {
		w.suspect.settle(true)
	}

	return w.advance(ctx, prefix)
}

// drainLanes waits until the lanes have processed what they have queued, before the partition is
// read from another offset: the queued records might not come again.
func (w *worker) drainLanes(ctx context.Context) error {
	if w.lanes == nil {
		return nil
	}
	w.lanes.finish()
	if err := w.lanes.failure(); err != nil {
		return err
	}

	return w.settleLanes(ctx)
}

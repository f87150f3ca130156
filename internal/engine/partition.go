package engine

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
)

// worker processes the records of one partition in their order, for one generation.
type worker struct {
	engine    *Engine
	source    Source
	config    *consume.Config
	guard     *idem.Guard
	partition idem.Partition
	start     int64 // where the partition began, if this owner is the first; or None
	log       *slog.Logger

	once      idem.BatchOption   // Repeating is up to the worker, which knows of the revocation.
	duplicate idem.DuplicateKind // of the record that was processed last, told by tells
	tells     idem.RecordOption
	owner     *idem.Owner // of the partition, or of a lane; unfenced until it is acquired, and in mode ByEventID
	reached   int64       // all records before it are done with; the checkpoint is behind over duplicates and holes in the log
	suspect   suspicion
	pace      pace
	fits      int             // how many records the next batch may have, after transient errors of larger ones; 0: Config.Batch.Size
	events    []idem.Event    // the memory of the present batch
	parked    idem.ParkedKeys // record keys with unresolved dead letters
	lanes     *lanes          // nil without Config.Lanes
	look      chan struct{}   // told by the engine's lookout
	settling  *time.Ticker    // when the checkpoint is to be taken along (settleAll)
	breaker   *breaker        // the lanes share it
	reads     busy            // Config.EventID
	runs      busy            // a handler
	asks      busy            // PostgreSQL, before and behind it
	condition *condition      // its lanes share it
	exited    error           // why a function of the user's has ended the goroutine

	// done says that the record before an offset is done with, and all before it.
	done func(next int64)
}

func newWorker(e *Engine, a Assignment) *worker {
	w := &worker{
		engine: e, source: a.Source, config: &e.config, guard: e.guard, partition: a.Partition, owner: e.guard.Unfenced(a.Partition),
		start:   None,
		log:     a.Logger.With("topic", a.Partition.Topic, "partition", a.Partition.Number),
		once:    idem.WithRetry(idem.RetryPolicy{MaxAttempts: 1, ResolveTimeout: e.config.DrainTimeout}),
		suspect: newSuspicion(), look: make(chan struct{}, 1),
		breaker: &breaker{policy: e.config.Failure.Breaker}, condition: newCondition(),
	}
	w.done, w.tells = w.reach, idem.WithDuplicate(&w.duplicate)

	return w
}

// checkpoints reports whether the partition has a checkpoint, which decides where to go on.
func (w *worker) checkpoints() bool { return w.config.Mode != consume.ByEventID }

// run returns nil once the partition is revoked, idem.ErrFenced if another owner has acquired it,
// or an error that must end the consumer. Handlers run with the context work: they finish what
// they have begun after the revocation.
func (w *worker) run(revoked, work context.Context) error {
	end := consume.AssignmentEnd{Err: errNoReturn}
	offset, err := w.acquire(revoked)
	assigned, going := false, true
	for going && revoked.Err() == nil {
		if err == nil {
			if !assigned {
				assigned = true
				w.condition.acquire(offset)
				_, assignment := watch(work, w.config.Hooks.Assignment, consume.AssignmentBegin{Place: w.at(offset)})
				remove := w.engine.gate.add(revoked, w)
				defer func() {
					remove()
					w.breaker.giveUp()
					assignment.end(end)
				}()
			}
			err = w.consume(revoked, work, offset)
		} else {
			offset, going, err = w.elsewhere(revoked, work, err)
		}
	}
	// Not deferred: a panic must leave it as it is.
	w.endInOrder(revoked)
	if going {
		err = nil // It was revoked: whatever kept this owner from going on, the next one finds it too.
	}
	end.Err = err

	return err
}

// elsewhere returns where to go on after an error that says that the partition cannot go on as it
// was. going is false for all other errors, and for those that a policy has made final. No policy decides while an
// operator has paused the consumer.
func (w *worker) elsewhere(revoked, work context.Context, err error) (offset int64, going bool, _ error) {
	var (
		away       *outOfRangeError
		unreadable *UnreadableError
	)
	switch {
	case errors.Is(err, errFinal), ends(err):
		return 0, false, err
	case errors.As(err, &away):
		if w.engine.gate.wait(revoked) {
			offset, err = w.skip(revoked, away)
		}
	case errors.As(err, &unreadable):
		if w.engine.gate.wait(revoked) {
			offset, err = w.passUnreadable(revoked, work, unreadable)
		}
	case errors.Is(err, idem.ErrRewound):
		offset, err = w.rewind(revoked, err)
	default:
		return 0, false, err
	}

	return offset, true, err
}

// errFinal marks an error that a policy lets end Run.
var errFinal = errors.New("as the configuration wants it")

// ends reports whether a record has ended the consumer: what its error wraps may be of anybody.
func ends(err error) bool { return errors.As(err, new(*consume.RecordError)) }

// consume processes what comes from offset on.
func (w *worker) consume(revoked, work context.Context, offset int64) error {
	if !w.engine.gate.wait(revoked) { // Before anything is fetched, and noted for that.
		return nil
	}
	w.reached = offset // Else settleAll would take a checkpoint that was set back to where it was.
	fetching, stop := context.WithCancel(revoked)
	f := newFetcher(w, offset)
	go f.run(fetching)
	defer func() {
		stop()
		<-f.ended
		if f.note != noNote {
			w.suspect.note = f.note
		}
	}()
	w.settling = time.NewTicker(w.config.CommitInterval)
	defer w.settling.Stop()
	var failed <-chan struct{}
	watched := []*idem.Owner{w.owner}
	if w.config.Lanes.Count > 1 {
		owners, err := w.laneOwners(revoked)
		if err != nil || revoked.Err() != nil {
			return err
		}
		w.lanes = newLanes(revoked, work, w, owners)
		failed = w.lanes.lost.Done()
		watched = append(watched, owners...)
	}
	defer w.end(revoked)
	defer w.engine.lookout.add(w, watched...)()

	for asleep := false; ; { // The ticker is.
		select {
		case <-failed:
			return w.lanes.failure()
		case batch, ok := <-f.batches:
			if !ok {
				if err := w.drainLanes(revoked); err != nil {
					return err
				}

				return f.err // written before batches is closed
			}
			if asleep { // Not otherwise: it would never tick where batches come all the time.
				asleep = false
				w.settling.Reset(w.config.CommitInterval)
			}
			if err := w.processAll(revoked, work, batch); err != nil {
				return err
			}
		case <-w.look:
			err := w.verify(revoked)
			if err == nil {
				err = w.replay(revoked, work)
			}
			if err != nil {
				return err
			}
		case <-w.settling.C:
			if err := w.settleAll(revoked); err != nil {
				return err
			}
			if asleep = w.isSettled(); asleep {
				w.settling.Stop() // A member may have thousands of partitions in which nothing happens.
			}
		}
	}
}

func (w *worker) processAll(revoked, work context.Context, batch fetched) error {
	release := batch.Release
	if w.lanes != nil {
		release = func() { w.lanes.keep(batch.Release) }
	}
	defer func() { release() }()
	defer w.condition.rest(w)
	if batch.note != noNote {
		w.suspect.note = batch.note
	}
	if batch.LeaderEpoch != None {
		w.owner.SetLeaderEpoch(batch.LeaderEpoch)
	}
	for records := batch.Records; len(records) > 0 && revoked.Err() == nil; {
		w.condition.work(w)
		n, err := w.processSome(revoked, work, records)
		if err != nil {
			return err
		}
		records = records[n:]
		select {
		case <-w.settling.C:
			if err := w.settleAll(revoked); err != nil {
				return err
			}
		default:
		}
	}
	if revoked.Err() != nil {
		return nil // The next owner of the partition goes on.
	}
	if w.lanes != nil {
		release = func() {} // Behind the last of its records.
		w.lanes.reach(batch.Next, batch.Release)

		return w.settleLanes(revoked)
	}
	w.done(batch.Next)

	return nil
}

// reach notes that the records before next are done with. The group's offset never passes the
// checkpoint: where it does, the database has lost commits.
func (w *worker) reach(next int64) {
	w.reached = next
	w.condition.reach(next)
	if !w.checkpoints() || w.owner.Next() >= next {
		w.commit(next)
	}
}

// commit has the offset committed to Kafka, soon.
func (w *worker) commit(next int64) {
	w.source.CommitSoon(w.place(next))
}

// settleAll takes the checkpoint along over what needed no transaction: duplicates, holes in the
// log, and what lanes have done with as a whole. Duplicates cost no transaction each, but when
// their event ids are forgotten the checkpoint has to know them.
func (w *worker) settleAll(ctx context.Context) error {
	if w.lanes != nil {
		return w.settleLanes(ctx)
	}

	return w.advance(ctx, w.reached)
}

// isSettled reports whether settleAll has nothing to do until there are other records.
func (w *worker) isSettled() bool {
	if w.lanes != nil {
		return w.lanes.isEmpty() && (!w.checkpoints() || w.lanes.prefix() <= w.owner.Next())
	}

	return !w.checkpoints() || w.reached <= w.owner.Next()
}

// end ends the lanes after their current records, and is settleAll for the last time.
func (w *worker) end(ctx context.Context) {
	if w.lanes != nil {
		w.lanes.cancel()
		w.lanes.finish()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	_ = w.settleAll(ctx) // Fenced or not: whoever goes on sees what is processed, or does what is not again.
}

// advance sets the checkpoint forward to what is processed. If that cannot be done now, it waits
// for the next time.
func (w *worker) advance(ctx context.Context, next int64) error {
	if !w.checkpoints() || next <= w.owner.Next() {
		return nil
	}
	err := w.owner.Advance(ctx, next)
	switch {
	case disowned(err):
		return err
	case err != nil:
		w.log.WarnContext(ctx, "consume: checkpoint not advanced, trying again later", "offset", next, "error", err)
	default:
		w.commit(next)
	}

	return nil
}

// verify finds out whether the database still has what this owner has committed. Where records come,
// their transactions do.
func (w *worker) verify(ctx context.Context) error {
	if err := w.owner.Verify(ctx); disowned(err) {
		return err
	}

	return nil // If it was not to be found out, the next time will do.
}

package simulation

import (
	"time"

	"github.com/nova-events/idempotent-consumer/internal/engine"
)

// rage is the storm.
func (w *world) rage() {
	for _, t := range w.plan.troubles {
		time.Sleep(time.Until(w.began.Add(t.at)))
		w.logf("trouble: %s", t.what)
		w.make(t)
	}
	time.Sleep(time.Until(w.began.Add(w.plan.storm)))
	w.mu.Lock()
	for _, p := range w.partitions {
		p.held = engine.None
	}
	w.mu.Unlock()
	w.pg.Start()
	w.pg.Pause(false)
}

// make makes trouble.
func (w *world) make(t trouble) {
	d := t.draw
	part := w.partitions[d.below(len(w.partitions))]
	member := d.below(len(w.members))
	switch t.what {
	case "move":
		w.take(part, false, &d)
	case "zombie":
		w.take(part, true, &d)
	case "crash":
		w.crash(member, &d)
	case "leave":
		w.leave(member, &d)
	case "terminate":
		w.pg.Terminate(nameOf(member))
	case "restart":
		w.pg.Stop()
		w.later(d.between(0, 3*time.Second), w.pg.Start)
	case "failover":
		w.failover(&d)
	case "kafka", "coordinator", "downstream":
		w.mu.Lock()
		w.away[t.what] = time.Now().Add(d.between(0, 8*time.Second))
		w.mu.Unlock()
	case "produce":
		w.produce(part, 1+d.below(6))
	case "election":
		w.elect(part, 0)
	case "unclean":
		w.elect(part, d.below(8))
		if d.once(2) {
			w.produce(part, 1+d.below(8))
		}
	case "transaction":
		w.mu.Lock()
		part.held = part.end
		w.mu.Unlock()
		w.produce(part, 1+d.below(3))
		w.later(d.between(0, 8*time.Second), func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			part.held = engine.None
		})
	case "pause":
		w.pg.Pause(true)
		w.later(d.between(0, 5*time.Second), func() { w.pg.Pause(false) })
	case "replay":
		w.pg.Replay()
	}
}

// later does something after a while. The end of the schedule waits for it.
func (w *world) later(after time.Duration, do func()) {
	w.running.Go(func() {
		time.Sleep(after)
		do()
	})
}

// take takes a partition from its owner. A zombie does not learn of it for a while.
func (w *world) take(part *partition, zombie bool, d *draw) {
	w.mu.Lock()
	r := part.run
	if zombie {
		part.run = nil
	}
	w.mu.Unlock()
	if r == nil {
		return
	}
	if zombie {
		w.later(d.between(0, 10*time.Second), r.revoke)

		return
	}
	r.revoke()
	w.running.Go(func() { // A member that does not give it up loses its place in the group.
		select {
		case <-r.ended:
		case <-time.After(drainTimeout + time.Second):
			w.mu.Lock()
			defer w.mu.Unlock()
			if part.run == r {
				part.run = nil
			}
		}
	})
}

// replace takes a process out of the group, and starts another in its place after a while.
func (w *world) replace(member int, after time.Duration) *process {
	w.mu.Lock()
	defer w.mu.Unlock()
	former := w.members[member]
	w.members[member] = nil
	if former != nil {
		w.later(after, func() {
			next := w.start(member)
			w.mu.Lock()
			defer w.mu.Unlock()
			w.members[member] = next
		})
	}

	return former
}

// crash kills a process.
func (w *world) crash(member int, d *draw) {
	p := w.replace(member, d.between(0, 5*time.Second))
	if p == nil {
		return
	}
	lingers := d.between(0, time.Millisecond)
	if d.once(3) {
		lingers = d.between(0, 20*time.Second)
	}
	p.kill(lingers)
	w.later(d.between(0, 3*time.Second), func() { // The group notices.
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, part := range w.partitions {
			if part.run != nil && part.run.process == p {
				part.run = nil
			}
		}
	})
	w.running.Go(p.pool.Close)
}

// leave stops a process in order.
func (w *world) leave(member int, d *draw) {
	p := w.replace(member, d.between(0, 5*time.Second))
	if p == nil {
		return
	}
	p.stop()
	w.running.Go(p.pool.Close)
}

// failover promotes a standby that lacks the latest commits. Not before all partitions have checkpoints: what has
// lost those is for people to judge (idem.ErrCheckpointGone).
func (w *world) failover(d *draw) {
	for _, part := range w.partitions {
		if next, _ := w.pg.Checkpoint(topic, part.number); next < 0 {
			return
		}
	}
	if w.floor == 0 {
		w.floor = w.pg.Commits()
	}
	w.pg.Stop()
	lost := w.pg.Rewind(min(d.below(20), w.pg.Commits()-w.floor))
	w.logf("lost %d commits", lost)
	w.later(d.between(0, 3*time.Second), w.pg.Start)
}

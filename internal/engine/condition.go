package engine

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
)

// condition is what a partition is doing, for Engine.Health. Its fetcher and its lanes share it.
type condition struct {
	mu       sync.Mutex
	acquired bool
	calm     time.Time // since when it has nothing to do, or is acquired
	busy     map[*worker]time.Time
	pauses   map[int]paused // by the numbers that pause gives them
	paused   int            // how many there were
	position int64
	end      int64 // of the log when it was last fetched; None if that is not known
	success  time.Time
}

// paused is why a partition stands still, and since when.
type paused struct {
	since time.Time
	why   consume.PauseBegin
}

func newCondition() *condition {
	return &condition{calm: time.Now(), busy: make(map[*worker]time.Time), pauses: make(map[int]paused), position: None, end: None}
}

// acquire sets where the partition goes on, now that this member owns it.
func (c *condition) acquire(offset int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.acquired, c.position, c.calm, c.success = true, offset, now, now
}

// work says that a worker begins with its next records. It has some until rest is called.
func (c *condition) work(w *worker) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy[w] = time.Now()
}

// rest ends what work has begun.
func (c *condition) rest(w *worker) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.busy, w)
	c.calm = time.Now()
}

// succeed says that records are processed.
func (c *condition) succeed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.success = time.Now()
}

// pause notes why the partition stands still, until resume is called with what it returns.
func (c *condition) pause(why consume.PauseBegin) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paused++
	c.pauses[c.paused] = paused{time.Now(), why}

	return c.paused
}

// because notes why a pause still lasts.
func (c *condition) because(pause int, why consume.PauseBegin) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pauses[pause] = paused{c.pauses[pause].since, why}
}

func (c *condition) resume(pause int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pauses, pause)
	c.calm = time.Now()
}

// reach says that the records before an offset are processed.
func (c *condition) reach(offset int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.position = offset
}

// learn stores where the log ends.
func (c *condition) learn(end int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if end >= c.position { // Else the broker has not said.
		c.end = end
	}
}

// health returns what the partition is doing. A pause counts for more than what goes on beside it, but an
// operator's begins when the records in progress are finished, and hides others then.
func (c *condition) health() consume.PartitionHealth {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := consume.PartitionHealth{State: consume.Acquiring, Since: c.calm, Position: c.position, Lag: None, LastSuccess: c.success}
	if c.acquired {
		h.State = consume.Idle
	}
	if c.acquired && c.end != None {
		h.Lag = max(0, c.end-c.position)
	}
	first := true
	for _, since := range c.busy {
		if first || since.Before(h.Since) {
			h.State, h.Since, first = consume.Processing, since, false
		}
	}
	first = true
	for _, p := range c.pauses {
		byOperator := p.why.Kind == consume.PauseOperator
		switch {
		case byOperator && len(c.busy) > 0:
		case first, byOperator, h.Pause != consume.PauseOperator && p.since.Before(h.Since):
			h.State, h.Since, h.Pause, h.Reason, first = consume.Paused, p.since, p.why.Kind, "", false
			if p.why.Err != nil {
				h.Reason = p.why.Err.Error()
			}
		}
	}

	return h
}

// place is the member's place in its group.
type place struct {
	mu         sync.Mutex
	state      consume.MemberState
	since      time.Time
	reason     string
	member     string
	generation int32
}

// Become sets the member's state, and its reason if an error is the reason. In the same state only
// the reason changes. A member that is leaving keeps that state.
func (e *Engine) Become(state consume.MemberState, reason error) {
	e.place.mu.Lock()
	defer e.place.mu.Unlock()
	if e.place.state == consume.Leaving && state != consume.NotRunning || e.place.state == consume.NotRunning && state == consume.Leaving {
		return
	}
	if e.place.state != state {
		e.place.state, e.place.since = state, time.Now()
	}
	e.place.reason = ""
	if reason != nil {
		e.place.reason = reason.Error()
	}
}

// Starts sets why the member is still starting.
func (e *Engine) Starts(reason error) { e.Become(consume.Starting, reason) }

// Because sets why the member is in its state; nil if nothing is wrong.
func (e *Engine) Because(reason error) {
	e.place.mu.Lock()
	state := e.place.state
	e.place.mu.Unlock()
	e.Become(state, reason)
}

// Joined says that the member has joined.
func (e *Engine) Joined(member string, generation int32) {
	e.Become(consume.Joined, nil)
	e.place.mu.Lock()
	defer e.place.mu.Unlock()
	e.place.member, e.place.generation = member, generation
}

// Health returns what the consumer is doing.
func (e *Engine) Health() consume.Health {
	e.place.mu.Lock()
	h := consume.Health{
		State: e.place.state, Since: e.place.since, Reason: e.place.reason, Group: e.group,
		Member: e.place.member, Generation: e.place.generation, Partitions: []consume.PartitionHealth{},
	}
	e.place.mu.Unlock()
	handlers := make(map[*condition]time.Time) // when the oldest that runs began
	partitions := make(map[*condition]idem.Partition)
	for _, w := range e.pool.all() { // A partition's and those of its lanes.
		partitions[w.condition] = w.partition
		since := w.runs.since.Load()
		if oldest := handlers[w.condition]; since != 0 && (oldest.IsZero() || since < oldest.UnixNano()) {
			handlers[w.condition] = time.Unix(0, since)
		}
	}
	for c, partition := range partitions {
		p := c.health()
		p.Topic, p.Partition, p.Handler = partition.Topic, partition.Number, handlers[c]
		h.Partitions = append(h.Partitions, p)
	}
	slices.SortFunc(h.Partitions, func(a, b consume.PartitionHealth) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	h.At = time.Now()

	return h
}

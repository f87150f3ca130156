package fetch

import (
	"container/list"
	"slices"
	"sync"
	"time"
)

const (
	// maxConnections is how many requests a broker has at a time, each on a connection of its own: brokers
	// answer the requests of a connection one after the other.
	maxConnections = 2

	// gatherTime is how long a request for partitions without records waits for those that have just been
	// answered. They come back within a fraction of it unless their worker is busy.
	gatherTime = time.Millisecond

	// Bounds of how long a broker may hold back an answer while its other connection is held already and
	// a partition may ask: the more partitions, the more it costs to ask again.
	minHold          = time.Millisecond
	holdForPartition = 10 * time.Microsecond

	// keepTime is how long a connection is kept for the next request.
	keepTime = time.Second
)

// source is a broker that partitions are fetched from.
//
// A broker answers a request once it has records of any of its partitions, or when the time is over.
// Nobody can join a request under way. So that no partition waits for the end of another's, one of
// the two connections is always free, or free soon, while a partition may ask:
//
//   - Partitions that have records, as far as is known, are asked for at once and with no waiting. They
//     have the second connection while the first waits for all others.
//   - The second connection may wait for records, too, with partitions that came too late for the first, but
//     the less long, the more recently a partition was answered that has not come back.
type source struct {
	fetcher *Fetcher
	broker  int32

	mu         sync.Mutex
	queue      []*call // those who have waited longest for records come first
	partitions map[topicPartition]*partition
	away       *list.List // partitions that have been answered and may ask again, the latest last
	news       time.Time  // when a partition last came that was not known before
	workers    []*worker
	requests   uint64
}

type topicPartition struct {
	topic     string
	partition int
}

// partition is what a source knows of one.
type partition struct {
	ends // as the broker has told them last

	away    *list.Element // of source.away; its value is the time of the answer
	request uint64        // the latest that it was put into
}

func newSource(f *Fetcher, broker int32) *source {
	return &source{fetcher: f, broker: broker, partitions: make(map[topicPartition]*partition), away: list.New()}
}

// add puts a call into the queue.
func (s *source) add(c *call) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	key := topicPartition{c.Topic, c.Partition}
	p := s.partitions[key]
	if p == nil {
		p = &partition{ends: ends{lastStable: c.Offset + 1}} // It probably has records.
		s.partitions[key], s.news = p, now
	}
	if p.away != nil {
		s.away.Remove(p.away)
		p.away = nil
	}
	c.partition, c.queued, c.prompt = p, now, c.Offset < p.lastStable
	s.queue = append(s.queue, c)
	s.wake()
}

// learn notes what the broker has told of a partition. The call that it answers may be abandoned, and
// another one in the queue.
func (s *source) learn(p *partition, told ends) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.ends = told
}

// wake makes the workers look at the queue. There is a new one if all are busy.
func (s *source) wake() {
	busy := true
	for _, w := range s.workers {
		busy = busy && w.request != nil
		select {
		case w.woken <- struct{}{}:
		default:
		}
	}
	if busy && len(s.workers) < maxConnections && s.waiting() {
		w := &worker{source: s, woken: make(chan struct{}, 1)}
		s.workers = append(s.workers, w)
		go w.run()
	}
}

// waiting reports whether somebody waits in the queue, and takes out who does not any more.
func (s *source) waiting() bool {
	s.queue = slices.DeleteFunc(s.queue, func(c *call) bool { return c.abandoned.Load() })

	return len(s.queue) > 0
}

// answer hands over an answer, after which the partition may ask again.
func (s *source) answer(c *call, a *answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answerLocked(c, a)
}

func (s *source) answerLocked(c *call, a *answer) {
	if p := c.partition; p.away == nil {
		p.away = s.away.PushBack(time.Now())
	}
	c.answered <- a
}

// next returns the request that a worker is to send. If there is none yet but somebody waits, it
// says when to look again at the latest.
func (s *source) next(w *worker, now time.Time) (request *exchange, again time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var prompt, patient int
	held := false // a request for records that are not there yet is under way
	for _, other := range s.workers {
		held = held || other.request != nil && !other.request.prompt
	}
	if !s.waiting() {
		return nil, time.Time{}
	}
	if left := s.fetcher.quota.left(s.broker); left > 0 {
		return nil, now.Add(left)
	}
	var oldest time.Time // of the patient
	for _, c := range s.queue {
		if c.prompt {
			prompt++
		} else if patient++; oldest.IsZero() || c.queued.Before(oldest) {
			oldest = c.queued
		}
	}

	gathered := true
	if patient > 0 {
		if latest := s.away.Back(); latest != nil {
			until := latest.Value.(time.Time).Add(gatherTime) //nolint:forcetypeassert // answerLocked puts nothing else there.
			if limit := oldest.Add(gatherTime); limit.Before(until) {
				until = limit
			}
			if gathered = !now.Before(until); !gathered {
				again = until
			}
		}
	}
	switch {
	case patient > 0 && gathered && !held:
		request = s.take(func(c *call) bool { return !c.prompt })
		request.hold = request.maxHold()
	case prompt > 0 && !held:
		request = s.take(func(c *call) bool { return c.prompt })
		request.prompt = true
	case prompt > 0:
		request = s.take(func(*call) bool { return true })
		request.prompt = true
	case patient > 0 && gathered:
		request = s.take(func(*call) bool { return true })
		request.hold = min(request.maxHold(), max(s.quiet(now)/2, minHold, time.Duration(len(request.calls))*holdForPartition))
	default:
		return nil, again
	}
	w.request = request

	return request, again
}

// quiet is how long no partition has come or gone that may ask soon.
func (s *source) quiet(now time.Time) time.Duration {
	last := s.news
	if latest := s.away.Back(); latest != nil {
		if at := latest.Value.(time.Time); at.After(last) { //nolint:forcetypeassert // See above.
			last = at
		}
	} else if now.Sub(last) > keepTime {
		return 1 << 62
	}

	return now.Sub(last)
}

// take makes a request of the calls that are wanted, as far as a request can have them.
func (s *source) take(want func(*call) bool) *exchange {
	s.requests++
	x := &exchange{source: s}
	rest := s.queue[:0]
	for _, c := range s.queue {
		if !want(c) || c.partition.request == s.requests {
			rest = append(rest, c)

			continue
		}
		c.partition.request = s.requests
		x.calls = append(x.calls, c)
	}
	clear(s.queue[len(rest):])
	s.queue = rest

	return x
}

// idleWaits is after how many times MaxWait a call is answered for whose partition there is nothing. It
// wakes nobody for nothing: a member may have thousands of such partitions.
const idleWaits = 5

// finish takes back what a request has left: calls without records wait on, at the front, because
// the broker fills its answer in the order of the request.
func (s *source) finish(w *worker, x *exchange, err error) {
	now := time.Now()
	s.fetcher.quota.throttle(s.broker, x.throttle)
	s.mu.Lock()
	defer s.mu.Unlock()
	w.request = nil
	if x.records && err == nil {
		x.spare()
	}
	back := make([]*call, 0, len(x.empty)+len(s.queue))
	for _, c := range x.empty {
		if x.throttle > 0 || now.Sub(c.since) >= idleWaits*c.MaxWait {
			s.answerLocked(c, &answer{ends: c.partition.ends, throttle: x.throttle})

			continue
		}
		// If others had so many records that there was no room for this one's, it is not to wait.
		c.prompt, c.queued = x.records && c.Offset < c.partition.lastStable, now
		back = append(back, c)
	}
	s.queue = append(back, s.queue...)
	for _, c := range x.calls {
		if c != nil {
			s.answerLocked(c, x.missing(c, err))
		}
	}
	s.wake()
}

// leave ends a worker. If it had no connection, all who wait are told.
func (s *source) leave(w *worker, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, other := range s.workers {
		if other == w {
			s.workers = append(s.workers[:i:i], s.workers[i+1:]...)
		}
	}
	if err != nil && !w.connected {
		for _, c := range s.queue {
			s.answerLocked(c, &answer{err: err})
		}
		s.queue = nil
	}
	s.wake()
}

package console

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/nova-events/idempotent-consumer/ops"
)

const (
	pollInterval  = 2 * time.Second
	kafkaInterval = 10 * time.Second
	kafkaTimeout  = 5 * time.Second

	// remembered is how long rates are, once nobody looks.
	remembered = 30 * time.Second

	// maxViewers is how many pages are told what moves, at a time.
	maxViewers = 64
)

// live reads what moves, for all viewers at once, and only while there are any.
type live struct {
	client   *ops.Client
	kafka    ops.Kafka
	log      *slog.Logger
	interval time.Duration
	timeout  time.Duration // of a poll

	mu      sync.Mutex
	viewers map[chan *snapshot]struct{}
	latest  *snapshot
	stop    context.CancelFunc // ends the polling for these viewers
	ended   chan struct{}      // closed when it has ended
	poller  *poller            // of whoever polls
}

func newLive(config Config) *live {
	return &live{client: config.Client, kafka: config.Kafka, log: config.Logger, interval: pollInterval, timeout: pageTimeout, viewers: map[chan *snapshot]struct{}{}}
}

// fresh is the latest snapshot, or nil if it is old. The caller holds the lock.
func (l *live) fresh() *snapshot {
	if l.latest == nil || time.Since(l.latest.At) > 2*l.interval {
		return nil
	}

	return l.latest
}

// now returns what the viewers are told, or without any, what the tables say now.
func (l *live) now(ctx context.Context) *snapshot {
	l.mu.Lock()
	latest := l.fresh()
	l.mu.Unlock()
	if latest != nil {
		return latest
	}

	return (&poller{live: l}).read(ctx)
}

// join returns a channel that has the latest snapshot, and not ok if there are too many viewers. The caller leaves it at
// the end.
func (l *live) join(ctx context.Context) (viewer chan *snapshot, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.viewers) == maxViewers {
		return nil, false
	}
	viewer = make(chan *snapshot, 1)
	l.viewers[viewer] = struct{}{}
	if latest := l.fresh(); latest != nil {
		viewer <- latest
	}
	if len(l.viewers) == 1 {
		// The first viewer may leave before the others do.
		ctx, l.stop = context.WithCancel(context.WithoutCancel(ctx))
		before, ended := l.ended, make(chan struct{})
		l.ended = ended
		go func() {
			defer close(ended)
			if before != nil {
				<-before
			}
			l.poll(ctx)
		}()
	}

	return viewer, true
}

func (l *live) leave(viewer chan *snapshot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.viewers, viewer)
	if len(l.viewers) == 0 {
		l.stop()
	}
}

// poll tells the viewers what it reads, until they have left. It goes on with the rates of those who left a moment
// ago, who may have gone to another page.
func (l *live) poll(ctx context.Context) {
	if l.poller == nil || l.poller.age() > remembered {
		l.poller = &poller{live: l}
	}
	tick := time.NewTicker(l.interval)
	defer tick.Stop()
	for {
		s := l.read(ctx)
		if s.Err != nil && ctx.Err() == nil {
			l.log.ErrorContext(ctx, "console: PostgreSQL could not be asked", "error", s.Err)
		}
		l.tell(ctx, s)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// read reads a snapshot. A server that hangs is one that could not be asked.
func (l *live) read(ctx context.Context) *snapshot {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()

	return l.poller.read(ctx)
}

// tell gives viewers the snapshot in place of one that they have not taken.
func (l *live) tell(ctx context.Context, s *snapshot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ctx.Err() != nil {
		return // Those who are there now have another one who polls.
	}
	l.latest = s
	for viewer := range l.viewers {
		select {
		case <-viewer:
		default:
		}
		viewer <- s
	}
}

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

	// maxViewers is how many pages are told what moves, at a time.
	maxViewers = 64
)

// live reads what moves, for all viewers at once, and only while there are any.
type live struct {
	client   *ops.Client
	kafka    ops.Kafka
	log      *slog.Logger
	interval time.Duration

	mu      sync.Mutex
	viewers map[chan *snapshot]struct{}
	stop    context.CancelFunc // of the poller of these viewers
	latest  *snapshot          // of it; nil: none yet
}

func newLive(config Config) *live {
	return &live{client: config.Client, kafka: config.Kafka, log: config.Logger, interval: pollInterval, viewers: map[chan *snapshot]struct{}{}}
}

// now returns what the viewers are told, or without any, what the tables say now.
func (l *live) now(ctx context.Context) *snapshot {
	l.mu.Lock()
	latest := l.latest
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
	if l.latest != nil {
		viewer <- l.latest
	}
	if len(l.viewers) == 1 {
		// The first viewer may leave before the others do.
		ctx, l.stop = context.WithCancel(context.WithoutCancel(ctx))
		go l.poll(ctx)
	}

	return viewer, true
}

func (l *live) leave(viewer chan *snapshot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.viewers, viewer)
	if len(l.viewers) == 0 {
		l.stop()
		l.latest = nil
	}
}

// poll tells the viewers what it reads, until they have left.
func (l *live) poll(ctx context.Context) {
	p := poller{live: l}
	tick := time.NewTicker(l.interval)
	defer tick.Stop()
	for {
		s := p.read(ctx)
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

// tell gives viewers the snapshot in place of one that they have not taken.
func (l *live) tell(ctx context.Context, s *snapshot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ctx.Err() != nil {
		return // Those who are there now have another poller.
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

package engine

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/nova-events/idempotent-consumer/idem"
)

// lookout finds out, for all partitions of a consumer together, which of them have something to do
// though no records come: a dead letter to replay, or commits that the database has lost.
type lookout struct {
	mu      sync.Mutex
	workers map[*worker][]*idem.Owner
}

// add has a worker be told (worker.look), until remove is called, by what its owners find.
func (l *lookout) add(w *worker, owners ...*idem.Owner) (remove func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.workers == nil {
		l.workers = make(map[*worker][]*idem.Owner)
	}
	l.workers[w] = owners

	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.workers, w)
	}
}

// run looks every interval, until ctx ends. While PostgreSQL does not answer, nothing is told.
func (l *lookout) run(ctx context.Context, guard *idem.Guard, interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			l.look(ctx, guard)
		}
	}
}

func (l *lookout) look(ctx context.Context, guard *idem.Guard) {
	l.mu.Lock()
	workers := maps.Clone(l.workers)
	l.mu.Unlock()
	var (
		owners []*idem.Owner
		of     []*worker
	)
	for w, its := range workers {
		for _, o := range its {
			owners, of = append(owners, o), append(of, w)
		}
	}
	if len(owners) == 0 {
		return
	}
	need, err := guard.Attention(ctx, owners)
	if err != nil {
		return // The next time will do.
	}
	for i, needed := range need {
		if needed {
			select {
			case of[i].look <- struct{}{}:
			default: // It was told already.
			}
		}
	}
}

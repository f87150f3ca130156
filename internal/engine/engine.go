// Package engine processes the records of assigned partitions: it acquires them in PostgreSQL, runs
// handlers in the transactions that claim their records, and has offsets committed. It knows no Kafka
// client; a Source stands for one partition of it.
package engine

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
	"github.com/nova-events/idempotent-consumer/internal/onceper"
)

// RetryPauses are those between the tries of whatever fails, but handlers.
var RetryPauses = backoff.Exponential{Initial: 100 * time.Millisecond, Max: 2 * time.Second}

// rejoinPause is how long a member waits that has lost a partition without the group's knowledge.
const rejoinPause = time.Second

// Engine is what the partitions of a consumer share.
type Engine struct {
	guard  *idem.Guard
	config consume.Config
	group  string

	collisions onceper.Limit // when one was logged
	throttled  onceper.Limit // when that was
	unread     onceper.Limit // when it was, that a requested record is to be fetched again
	suspected  onceper.Limit // when it was, that the database has lost commits
	pool       poolWatch
	lookout    lookout
	gate       gate
	place      place
	begins     chan struct{} // is taken by who notes where the group begins in several topics, and looks at begun
	begun      bool          // whether the group has begun in any of them
	running    atomic.Bool
}

// New returns an engine for a group. The configuration is complete (consume.Config.Complete).
func New(guard *idem.Guard, config consume.Config, group string) *Engine {
	return &Engine{guard: guard, config: config, group: group, begins: make(chan struct{}, 1), place: place{since: time.Now(), generation: None}}
}

// Live is a consumer's Run, with its beginning and its end in Health. There is one at a time.
func (e *Engine) Live(run func() error) error {
	if !e.running.CompareAndSwap(false, true) {
		return consume.ErrRunning
	}
	defer e.running.Store(false)
	e.Become(consume.Starting, nil)
	err := run()
	e.Become(consume.NotRunning, err)

	return err
}

// Register finds mistakes before the first record does, and waits for PostgreSQL to come up. It finds out
// whether the consumer is paused, too: then none begins.
func (e *Engine) Register(ctx context.Context) error {
	return e.await(ctx, func() error {
		if err := e.guard.Register(ctx); err != nil {
			return err
		}

		return e.gate.look(ctx, e)
	})
}

// Bind makes sure that no other group uses the guard's consumer.
func (e *Engine) Bind(ctx context.Context, cluster string) error {
	return e.await(ctx, func() error { return e.guard.Bind(ctx, cluster, e.group) })
}

// await waits for PostgreSQL to come up.
func (e *Engine) await(ctx context.Context, try func() error) error {
	var trouble onceper.Trouble
	for failed := 1; ; failed++ {
		err := try()
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // It was told to stop.
		case err == nil:
			if lasted, told := trouble.Passed(); told {
				e.config.Logger.InfoContext(ctx, "consume: PostgreSQL is there", "waited", lasted)
			}

			return nil
		case !idem.IsTransient(err):
			return err
		}
		e.Starts(err)
		if since, due := trouble.Lasts(waitLine); due {
			e.config.Logger.WarnContext(ctx, "consume: waiting for PostgreSQL", "since", since, "error", err)
		}
		backoff.Sleep(ctx, RetryPauses.Pause(failed))
	}
}

// Assignment is a partition that a member of the group is assigned.
type Assignment struct {
	Partition idem.Partition
	Source    Source
	Logger    *slog.Logger // one that names the generation
}

// Run processes the records of a partition until it is revoked, and then calls ended. Handlers run
// with the context work: they finish what they have begun after the revocation. rejoin says that the
// partition was lost without the group's knowledge, so that this member is to join it again; err is to
// end the consumer.
//
// It needs a goroutine of its own: a handler may end it (runtime.Goexit). ended is called then, too.
func (e *Engine) Run(revoked, work context.Context, a Assignment, ended func(rejoin bool, err error)) {
	w := newWorker(e, a)
	defer e.pool.add(w)()
	err := consume.ErrHandlerExited
	returned := false
	defer func() {
		if !returned {
			err = w.exitedOr(err)
		}
		ended(w.rejoins(revoked, err))
	}()
	err = w.run(revoked, work)
	returned = true
}

// rejoins says what the error means that has ended a worker.
func (w *worker) rejoins(revoked context.Context, err error) (bool, error) {
	if ends(err) || !errors.Is(err, idem.ErrFenced) && !errors.Is(err, ErrOtherTopic) {
		return false, err
	}
	w.log.WarnContext(revoked, "consume: joining the group again", "error", err)
	backoff.Sleep(revoked, rejoinPause) // Two that fence each other by mistake are not to do it all the time.

	return true, nil
}

// Watch looks, until ctx ends, after what no partition notices by itself: a pool without a connection to
// give, an operator who pauses the consumer, and what is to be done where no records come.
func (e *Engine) Watch(ctx context.Context) {
	var watches sync.WaitGroup
	watches.Go(func() { e.gate.run(ctx, e) })
	watches.Go(func() { e.lookout.run(ctx, e.guard, e.config.Failure.ReplayInterval) })
	defer watches.Wait()
	e.pool.run(ctx, e)
}

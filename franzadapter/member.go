package franzadapter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/engine"
	"github.com/nova-events/idempotent-consumer/internal/onceper"
	"github.com/nova-events/idempotent-consumer/internal/topics"
)

// member is this process's place in the consumer group. franz-go calls it with what it is assigned and
// what is taken from it; it has a worker for each partition. A rebalance ends only the workers of those
// partitions that go.
type member struct {
	consumer     *Consumer
	client       *kgo.Client
	decompressor kgo.Decompressor
	log          *slog.Logger
	view         *view
	puller       *puller
	asking       turns // of partitions that ask for something when they start
	commits      *commits
	unseen       onceper.Trouble // that topics cannot be looked at
	unshaken     atomic.Bool     // the latest connection failed after it had reached the broker, in the handshake of TLS

	stop    context.CancelFunc // ends Run
	workers sync.WaitGroup

	mu          sync.Mutex
	closed      bool // nothing is accepted any more
	assignments map[partition]*assignment
	session     chan struct{} // closed when the group has agreed on an assignment the next time
	failure     error         // why Run must end, if it must
}

// assignment is a partition until it is taken away.
type assignment struct {
	partition partition
	committed *committed
	revoke    context.CancelFunc
	stopWork  context.CancelFunc
	done      chan struct{} // closed when the worker has ended

	// Of the topic that is consumed now, guarded by the member's mu.
	topicID [16]byte
	restart context.CancelFunc
}

// assigned is called with what is added. That is nothing at times, and some that this member has already.
func (m *member) assigned(ctx context.Context, _ *kgo.Client, added map[string][]int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.session)
	m.session = make(chan struct{})
	if m.closed {
		return
	}
	offsets, begun := newCommitted(m, slices.Collect(maps.Keys(added))...), 0
	for topic, numbers := range added {
		for _, number := range numbers {
			p := partition{topic, number}
			if m.assignments[p] != nil {
				continue
			}
			m.assignments[p] = m.begin(context.WithoutCancel(ctx), p, offsets)
			begun++
		}
	}
	id, generation := m.client.GroupMetadata()
	m.consumer.engine.Joined(id, generation)
	m.log.InfoContext(ctx, "franzadapter: partitions assigned", "partitions", len(m.assignments), "new", begun, "member", id, "generation", generation)
}

// begin has a worker process a partition.
func (m *member) begin(ctx context.Context, p partition, offsets *committed) *assignment {
	a := &assignment{partition: p, committed: offsets, done: make(chan struct{})}
	revoked, revoke := context.WithCancel(ctx)
	work, stopWork := context.WithCancel(ctx)
	a.revoke, a.stopWork = revoke, stopWork
	m.workers.Go(func() {
		defer close(a.done)
		defer stopWork()
		m.run(revoked, work, a)
	})

	return a
}

// revoked is called with what others are to have. It returns when the workers have ended and what they
// have done is committed; the group waits for that.
func (m *member) revoked(ctx context.Context, _ *kgo.Client, gone map[string][]int32) {
	if all := m.pick(gone); len(all) > 0 {
		m.end(ctx, all)
		m.commits.flush(ctx)
		m.remove(all)
	}
}

// lost is called with what others have by now. What is done with it is not committed.
func (m *member) lost(ctx context.Context, _ *kgo.Client, gone map[string][]int32) {
	all := m.pick(gone)
	for _, a := range all {
		m.commits.forget(a.partition)
	}
	m.end(ctx, all)
	m.remove(all)
}

// end ends workers, and their handlers if they take too long, and waits for them. It does not wait
// for a worker whose handler hangs: franz-go goes on with its heartbeats, so the partition would
// belong to this member for that time. The next owner fences the worker in PostgreSQL.
func (m *member) end(ctx context.Context, all []*assignment) {
	for _, a := range all {
		a.revoke()
	}
	if await(all, m.consumer.consume.DrainTimeout) {
		return
	}
	for _, a := range all {
		a.stopWork()
	}
	m.commits.flush(ctx) // One that hangs is not to hold back the offsets of the others.
	if !await(all, hangTimeout) {
		m.log.WarnContext(ctx, "franzadapter: a handler does not end with its context, giving its partition away without it")
	}
}

// hangTimeout is how long a handler may take to end after its context has.
const hangTimeout = time.Second

// await waits for workers to end, and reports whether they have.
func await(all []*assignment, patience time.Duration) bool {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for _, a := range all {
		select {
		case <-a.done:
		case <-timer.C:
			return false
		}
	}

	return true
}

// pick returns the assignments of partitions.
func (m *member) pick(partitions map[string][]int32) (all []*assignment) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for topic, numbers := range partitions {
		for _, number := range numbers {
			if a := m.assignments[partition{topic, number}]; a != nil {
				all = append(all, a)
			}
		}
	}

	return all
}

func (m *member) remove(all []*assignment) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range all {
		m.commits.forget(a.partition)
		if m.assignments[a.partition] == a {
			delete(m.assignments, a.partition)
		}
	}
	if len(m.assignments) == 0 {
		m.consumer.engine.Become(consume.Joining, nil)
	}
}

// close ends all workers, while the member is still in the group.
func (m *member) close(ctx context.Context) {
	m.mu.Lock()
	m.closed = true
	all := make(map[string][]int32)
	for p := range m.assignments {
		all[p.topic] = append(all[p.topic], p.number)
	}
	m.mu.Unlock()
	m.revoked(ctx, m.client, all)
}

// run processes the records of a partition until it is revoked. Handlers run with the context work: they
// finish what they have begun after the revocation. run starts again with a topic that was deleted and
// created again, and after the partition was lost without the group's knowledge.
func (m *member) run(revoked, work context.Context, a *assignment) {
	m.puller.join(a.partition)
	defer m.puller.leave(a.partition)
	for renewed := false; revoked.Err() == nil; {
		t, ok := m.view.topic(revoked, a.partition, renewed)
		if !ok {
			return
		}
		rejoin, failed := m.process(revoked, work, a, t)
		if failed {
			return
		}
		if rejoin {
			m.confirm(revoked)
			renewed = true
		}
		a.committed = newCommitted(m)
	}
}

// process runs the engine for a partition, as one of a topic. A handler may end the goroutine meanwhile.
func (m *member) process(revoked, work context.Context, a *assignment, t topics.Topic) (rejoin, failed bool) {
	running, stop := context.WithCancel(revoked)
	defer stop()
	m.mu.Lock()
	a.topicID, a.restart = t.ID, stop
	m.mu.Unlock()
	m.commits.accept(a.partition, t.ID)
	m.consumer.engine.Run(running, work, engine.Assignment{
		Partition: idem.Partition{Topic: a.partition.topic, Number: a.partition.number, TopicID: t.ID},
		Source:    &source{member: m, partition: a.partition, topic: t, committed: a.committed},
		Logger:    m.log,
	}, func(again bool, err error) {
		rejoin, failed = again, err != nil
		if failed {
			m.fail(err)
		}
	})

	return rejoin, failed
}

// confirm waits until the group has confirmed which partitions this member has. With ServerSideBalancer
// the broker does so in the answer to a request for the group's offsets, because it knows its members.
func (m *member) confirm(revoked context.Context) {
	m.mu.Lock()
	next := m.session
	m.mu.Unlock()
	m.client.ForceRebalance()
	if m.consumer.config.ServerSideBalancer {
		return
	}
	select {
	case <-next:
	case <-revoked.Done():
	}
}

// restartRecreated restarts the workers of topics that were deleted and created again.
func (m *member) restartRecreated(latest *look) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p, a := range m.assignments {
		t, ok := latest.byName[p.topic]
		if ok && a.restart != nil && t.ID != a.topicID {
			m.log.Warn("franzadapter: the topic was deleted and created again, beginning anew", "topic", p.topic, "partition", p.number)
			a.restart()
		}
	}
}

// fail makes Run end with err. The other partitions finish their records in progress.
func (m *member) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failure == nil {
		m.failure = err
	}
	m.stop()
}

// OnGroupManageError implements kgo.HookGroupManageError: franz-go tries again.
func (m *member) OnGroupManageError(err error) {
	m.consumer.engine.Because(err)
	if _, generation := m.client.GroupMetadata(); generation == 0 && errors.Is(err, kerr.GroupIDNotFound) {
		// A member that joins would create a group that does not exist.
		err = &engine.FatalError{Err: fmt.Errorf("franzadapter: the broker refuses: %w: clients are in the group that share the partitions in a way that the broker cannot take over: stop them, or use another Config.Group", err)}
	} else {
		err = fatal(err)
	}
	if err != nil {
		m.fail(err)
	}
}

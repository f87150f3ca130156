package kafkaadapter

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/engine"
	"github.com/nova-events/idempotent-consumer/internal/topics"
	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/group"
)

// generation is the time between two rebalances, in which the assignment of partitions does
// not change. It has a worker for each partition and commits their offsets.
//
// Its end is awaited by the group, so that what this member has processed is committed before
// others take over.
type generation struct {
	consumer *Consumer
	group    *group.Generation
	member   *membership
	log      *slog.Logger
	topics   []topics.Topic

	workers sync.WaitGroup

	commits   *commits
	committed *committed

	mu      sync.Mutex
	failure error // why Run must end, if it must
}

func newGeneration(c *Consumer, g *group.Generation, member *membership, all []topics.Topic) *generation {
	next := &generation{
		consumer: c, group: g, member: member,
		log:       c.consume.Logger.With("generation", g.ID),
		topics:    all,
		committed: &committed{generation: g, topics: all, together: c.config.TopicPattern != nil},
	}
	next.commits = &commits{
		generation: g, log: next.log, engine: c.engine, late: &member.late, fail: next.fail,
		pending: make(map[string]map[int]engine.Place),
	}

	return next
}

// run returns when the generation has ended: nil for the next one to begin, else an error that
// ends Run.
func (g *generation) run(ctx context.Context) error {
	// Handlers are to finish what they have begun when ctx or the generation ends.
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()

	defer context.AfterFunc(ctx, func() { g.group.End(errStopping) })()

	revoked, revoke := context.WithCancel(ctx) // At once if ctx ends: no other record is begun then.
	defer revoke()
	defer context.AfterFunc(g.group.Context(), revoke)() //nolint:contextcheck // A generation has a context of its own.
	partitions := 0
	for topic, assigned := range g.group.Assignments {
		for _, partition := range assigned {
			assignment := g.assignment(topic, partition)
			partitions++
			g.workers.Go(func() {
				g.consumer.engine.Run(revoked, work, assignment, func(rejoin bool, err error) {
					switch {
					case rejoin:
						g.group.End(errRejoin)
					case err != nil:
						g.fail(err)
					}
				})
			})
		}
	}
	g.log.InfoContext(ctx, "kafkaadapter: partitions assigned", "partitions", partitions, "member", g.group.MemberID)
	var watch sync.WaitGroup
	defer watch.Wait()
	watch.Go(func() {
		g.watchTopics(revoked)
		g.group.End(errRejoin)
	})
	g.commitUntil(ctx, revoked)
	timer := time.AfterFunc(g.consumer.consume.DrainTimeout, func() {
		stop()
		g.commits.flush(ctx) // One that hangs is not to hold back the offsets of the others.
		g.group.Silence()    // Nor is it to keep its place in the group.
	})
	defer timer.Stop()
	g.workers.Wait()
	g.commits.flush(ctx)

	return g.result()
}

// result is the error that ends Run, if there is one.
func (g *generation) result() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.failure == nil {
		return fatal(g.group.Err())
	}

	return g.failure
}

// assignment is a partition for the engine.
func (g *generation) assignment(topic string, partition int) engine.Assignment {
	s := &source{generation: g, topic: topicOf(g.topics, topic), partition: partition}

	return engine.Assignment{
		Partition: idem.Partition{Topic: topic, Number: int32(partition), TopicID: s.topic.ID}, //nolint:gosec // Kafka's partitions have 32 bits.
		Source:    s,
		Logger:    g.log,
	}
}

// fail makes Run end with err. The other partitions finish their records in progress.
func (g *generation) fail(err error) {
	g.mu.Lock()
	if g.failure == nil {
		g.failure = err
	}
	g.mu.Unlock()
	g.group.End(err)
}

// commitUntil commits periodically until the generation ends.
func (g *generation) commitUntil(ctx, revoked context.Context) {
	ticker := time.NewTicker(g.consumer.consume.CommitInterval)
	defer ticker.Stop()
	for {
		select {
		case <-revoked.Done():
			return
		case <-ticker.C:
			g.commits.flush(ctx)
		}
	}
}

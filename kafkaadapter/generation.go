package kafkaadapter

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/engine"
	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/fetch"
)

// generation is the time between two rebalances, in which the assignment of partitions does
// not change. It has a worker for each partition and commits their offsets.
//
// Its end is awaited by the group, so that what this member has processed is committed before
// others take over.
type generation struct {
	consumer *Consumer
	kafka    *kafka.Generation
	member   *membership
	client   *kafka.Client
	log      *slog.Logger
	topics   []fetch.Topic

	workers sync.WaitGroup
	ended   chan struct{} // closed when workers and committer have ended

	commits   *commits
	committed *committed

	mu      sync.Mutex
	failure error // why Run must end, if it must
}

func newGeneration(c *Consumer, g *kafka.Generation, member *membership, client *kafka.Client, topics []fetch.Topic) *generation {
	next := &generation{
		consumer: c, kafka: g, member: member, client: client,
		log:       c.consume.Logger.With("generation", g.ID),
		topics:    topics,
		ended:     make(chan struct{}),
		committed: &committed{client: client, group: c.config.Group, topics: topics},
	}
	next.commits = &commits{
		client: client, group: c.config.Group, generation: g, log: next.log, observe: c.consume.Observe, fail: next.fail,
		pending: make(map[string]map[int]engine.Place),
	}
	next.commits.wal = c.engine.WALPosition

	return next
}

// run returns when the generation has ended: nil for the next one to begin, else an error that
// ends Run.
func (g *generation) run(ctx context.Context) error {
	// Handlers are to finish what they have begun when ctx or the generation ends.
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()

	partitions := 0
	for topic, assigned := range g.kafka.Assignments {
		for _, partition := range assigned {
			assignment := g.assignment(topic, partition.ID)
			partitions++
			g.workers.Add(1)
			g.kafka.Start(func(revoked context.Context) {
				defer g.workers.Done()
				rejoin, err := g.consumer.engine.Run(revoked, work, assignment)
				if rejoin {
					return // This ends the generation.
				}
				if err != nil {
					g.fail(err)
				}
				<-revoked.Done()
			})
		}
	}
	g.log.InfoContext(ctx, "kafkaadapter: partitions assigned", "partitions", partitions, "member", g.kafka.MemberID)
	var dealt map[string]int // nil unless this member is the leader
	if p := g.member.dealt.Swap(nil); p != nil {
		dealt = *p
	}
	g.kafka.Start(func(revoked context.Context) {
		g.consumer.watchTopics(revoked, g.transport(), g.topics, dealt)
	})
	g.kafka.Start(func(revoked context.Context) {
		defer close(g.ended)
		g.commitUntil(ctx, revoked)
		timer := time.AfterFunc(g.consumer.consume.DrainTimeout, func() {
			stop()
			g.commits.flush(ctx) // One that hangs is not to hold back the offsets of the others.
		})
		defer timer.Stop()
		g.workers.Wait()
		g.commits.flush(ctx)
	})
	<-g.ended

	g.mu.Lock()
	defer g.mu.Unlock()

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

// metadata asks for a topic.
func (g *generation) metadata(ctx context.Context, topic string) (fetch.Cluster, error) {
	return fetch.Metadata(ctx, g.transport(), g.consumer.brokers, g.consumer.config.ClientID, topic) //nolint:wrapcheck // It says what was tried.
}

func (g *generation) transport() *kafka.Transport {
	return g.client.Transport.(*kafka.Transport) //nolint:forcetypeassert // consume made it.
}

// fail makes Run end with err. The other partitions finish their records in progress.
func (g *generation) fail(err error) {
	g.mu.Lock()
	if g.failure == nil {
		g.failure = err
	}
	g.mu.Unlock()
	g.member.leave()
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

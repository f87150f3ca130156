package kafkaadapter

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/fetch"
)

// rejoinPause is how long a member waits that has lost a partition without the group's knowledge.
const rejoinPause = time.Second

// generation is the time between two rebalances, in which the assignment of partitions does
// not change. It has a worker for each partition and commits their offsets.
//
// Its end is awaited by the group, so that what this member has processed is committed before
// others take over. A commit carries the generation and the member: once others have taken
// over, the broker refuses it.
type generation struct {
	consumer *Consumer
	kafka    *kafka.Generation
	member   *membership
	client   *kafka.Client
	log      *slog.Logger
	topics   []fetch.Topic

	workers sync.WaitGroup
	ended   chan struct{} // closed when workers and committer have ended

	committing sync.Mutex // One commit at a time, so that none overtakes another.

	mu      sync.Mutex
	pending map[string]map[int]int64 // offsets to commit, by topic and partition
	failure error                    // why Run must end, if it must
}

func newGeneration(c *Consumer, g *kafka.Generation, member *membership, client *kafka.Client, topics []fetch.Topic) *generation {
	return &generation{
		consumer: c, kafka: g, member: member, client: client,
		log:     c.config.Logger.With("generation", g.ID),
		topics:  topics,
		ended:   make(chan struct{}),
		pending: make(map[string]map[int]int64),
	}
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
			w := newWorker(g, topic, partition)
			partitions++
			g.workers.Add(1)
			g.kafka.Start(func(revoked context.Context) {
				defer g.workers.Done()
				err := w.run(revoked, work)
				switch {
				case errors.Is(err, idem.ErrFenced), errors.Is(err, errOtherTopic):
					g.log.WarnContext(ctx, "kafkaadapter: joining the group again", "partition", w.partition.String(), "error", err)
					w.observe(Event{Kind: EventFenced, Err: err})
					backoff.Sleep(revoked, rejoinPause) // Two that fence each other by mistake are not to do it all the time.

					return // This ends the generation.
				case err != nil:
					g.fail(err)
				}
				<-revoked.Done()
			})
		}
	}
	g.log.InfoContext(ctx, "kafkaadapter: partitions assigned", "partitions", partitions, "member", g.kafka.MemberID)
	g.kafka.Start(func(revoked context.Context) {
		g.consumer.watchTopics(revoked, g.transport(), g.topics)
	})
	g.kafka.Start(func(revoked context.Context) {
		defer close(g.ended)
		g.commitUntil(ctx, revoked)
		timer := time.AfterFunc(g.consumer.config.DrainTimeout, func() {
			stop()
			g.commit(ctx) // One that hangs is not to hold back the offsets of the others.
		})
		defer timer.Stop()
		g.workers.Wait()
		g.commit(ctx)
	})
	<-g.ended

	g.mu.Lock()
	defer g.mu.Unlock()

	return g.failure
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

// done says that all records of a partition before the offset are processed.
func (g *generation) done(topic string, partition int, offset int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pending[topic] == nil {
		g.pending[topic] = make(map[int]int64)
	}
	g.pending[topic][partition] = offset
}

// commitUntil commits periodically until the generation ends.
func (g *generation) commitUntil(ctx, revoked context.Context) {
	ticker := time.NewTicker(g.consumer.config.CommitInterval)
	defer ticker.Stop()
	for {
		select {
		case <-revoked.Done():
			return
		case <-ticker.C:
			g.commit(ctx)
		}
	}
}

// commitNow commits an offset of one partition and returns when that has succeeded, or with an
// error when the generation has ended or the broker refuses.
func (g *generation) commitNow(revoked context.Context, topic string, partition int, offset int64) error {
	for failed := 1; ; failed++ {
		g.committing.Lock()
		err := g.kafka.CommitOffsets(map[string]map[int]int64{topic: {partition: offset}})
		g.committing.Unlock()
		if err == nil {
			g.done(topic, partition, offset)

			return nil
		}
		if fatalErr := fatal(err); fatalErr != nil {
			return fatalErr
		}
		g.log.WarnContext(revoked, "kafkaadapter: offset not committed, trying again", "topic", topic, "partition", partition, "error", err)
		if !backoff.Sleep(revoked, retryPauses.Pause(failed)) {
			return err //nolint:wrapcheck // The caller wraps it.
		}
	}
}

// commit commits what is done. What fails is tried again the next time, unless there is
// something newer by then.
func (g *generation) commit(ctx context.Context) {
	g.committing.Lock()
	defer g.committing.Unlock()
	g.mu.Lock()
	offsets := g.pending
	g.pending = make(map[string]map[int]int64)
	g.mu.Unlock()
	if len(offsets) == 0 {
		return
	}
	started := time.Now()
	err := g.kafka.CommitOffsets(offsets)
	if err == nil {
		g.consumer.config.Observe(Event{Kind: EventCommitted, Duration: time.Since(started)})

		return
	}
	if err := fatal(err); err != nil {
		g.fail(err)
	}
	g.log.WarnContext(ctx, "kafkaadapter: offsets not committed; if others take over before they are, records will be delivered again", "error", err)

	g.mu.Lock()
	defer g.mu.Unlock()
	for topic, newer := range g.pending {
		if offsets[topic] == nil {
			offsets[topic] = newer

			continue
		}
		maps.Copy(offsets[topic], newer)
	}
	g.pending = offsets
}

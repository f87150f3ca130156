package franzadapter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
	"github.com/nova-events/idempotent-consumer/internal/engine"
	"github.com/nova-events/idempotent-consumer/internal/onceper"
)

// commits are the offsets of a member on their way to Kafka. Each request carries the member and its
// generation: once others have taken over, the broker refuses it.
type commits struct {
	member *member
	log    *slog.Logger
	late   onceper.Trouble // that commits fail

	sending sync.Mutex // One request at a time, so that none overtakes another.

	mu      sync.Mutex
	open    map[partition][16]byte // the ids of the topics of partitions of which offsets are committed
	pending map[partition]place
}

// place is one in a topic of a certain id.
type place struct {
	engine.Place

	topicID [16]byte
}

// errForgotten is that of places in partitions that belong to others now.
var errForgotten = errors.New("commit offsets: the partitions belong to others now")

func newCommits(m *member, log *slog.Logger) *commits {
	return &commits{member: m, log: log, open: make(map[partition][16]byte), pending: make(map[partition]place)}
}

// accept has offsets of a partition committed until forget is called.
func (c *commits) accept(p partition, topicID [16]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[p] != topicID {
		delete(c.pending, p)
	}
	c.open[p] = topicID
}

// forget drops what is not committed yet of a partition that belongs to others now.
func (c *commits) forget(p partition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, p)
	delete(c.pending, p)
}

// done says that all records of a partition before a place are processed.
func (c *commits) done(p partition, at place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isOpen(p, at) {
		c.pending[p] = at
	}
}

func (c *commits) isOpen(p partition, at place) bool {
	id, ok := c.open[p]

	return ok && id == at.topicID
}

// now commits one partition and returns when that has succeeded, or with an error when it is revoked
// or the broker refuses.
func (c *commits) now(revoked context.Context, p partition, at place) error {
	for failed := 1; ; failed++ {
		c.sending.Lock()
		c.mu.Lock()
		places := map[partition]place{p: at}
		request := c.request(places)
		c.mu.Unlock()
		err := c.send(revoked, request, places)
		c.sending.Unlock()
		if err == nil {
			c.done(p, at)
			c.passed(revoked)

			return nil
		}
		if fatalErr := fatal(err); fatalErr != nil {
			return fatalErr
		}
		if since, due := c.late.Lasts(time.Minute); due {
			c.log.WarnContext(revoked, "franzadapter: offset not committed, trying again", "topic", p.topic, "partition", p.number, "since", since, "error", err)
		}
		if !backoff.Sleep(revoked, engine.RetryPauses.Pause(failed)) {
			return err
		}
	}
}

// flush commits what is done. What fails is tried again the next time, unless there is something
// newer by then.
func (c *commits) flush(ctx context.Context) {
	c.sending.Lock()
	defer c.sending.Unlock()
	c.mu.Lock()
	places := c.pending
	c.pending = make(map[partition]place)
	request := c.request(places)
	c.mu.Unlock()
	if len(places) == 0 {
		return
	}
	err := c.send(context.WithoutCancel(ctx), request, places)
	if err == nil {
		c.passed(ctx)

		return
	}
	if err := fatal(err); err != nil {
		c.member.fail(err)
	}
	if since, due := c.late.Lasts(time.Minute); due {
		c.log.WarnContext(ctx, "franzadapter: offsets not committed; if others take over before they are, records will be delivered again", "since", since, "error", err)
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	for p, at := range places {
		if _, newer := c.pending[p]; !newer && c.isOpen(p, at) {
			c.pending[p] = at
		}
	}
}

// passed logs that commits succeed again.
func (c *commits) passed(ctx context.Context) {
	if lasted, told := c.late.Passed(); told {
		c.log.InfoContext(ctx, "franzadapter: offsets are committed again", "after", lasted)
	}
}

// request makes the request to commit places. It is made under mu: the generation must be that of a time
// in which the partitions were not forgotten.
func (c *commits) request(places map[partition]place) *kmsg.OffsetCommitRequest {
	config := &c.member.consumer.config
	request := kmsg.NewPtrOffsetCommitRequest()
	request.Group = config.Group
	request.MemberID, request.Generation = c.member.client.GroupMetadata()
	if config.InstanceID != "" {
		request.InstanceID = &config.InstanceID
	}
	topics := make(map[string]int)
	for p, at := range places {
		if !c.isOpen(p, at) {
			continue // It belongs to others now.
		}
		i, ok := topics[p.topic]
		if !ok {
			t := kmsg.NewOffsetCommitRequestTopic()
			t.Topic, t.TopicID = p.topic, at.topicID
			i = len(request.Topics)
			topics[p.topic], request.Topics = i, append(request.Topics, t)
		}
		one := kmsg.NewOffsetCommitRequestTopicPartition()
		one.Partition, one.Offset, one.LeaderEpoch = p.number, at.Offset, at.LeaderEpoch
		request.Topics[i].Partitions = append(request.Topics[i].Partitions, one)
	}

	return request
}

func (c *commits) send(ctx context.Context, request *kmsg.OffsetCommitRequest, places map[partition]place) error {
	if len(request.Topics) == 0 {
		return errForgotten
	}
	e := c.member.consumer.engine
	wal := e.WALPosition(ctx)
	for _, t := range request.Topics {
		for i := range t.Partitions {
			t.Partitions[i].Metadata = new(places[partition{t.Topic, t.Partitions[i].Partition}].Metadata(wal))
		}
	}

	return e.WatchCommit(ctx, func() []consume.Place { return placesOf(request) }, func(ctx context.Context) error { return c.ask(ctx, request) })
}

// placesOf returns what hooks get about a request.
func placesOf(request *kmsg.OffsetCommitRequest) (all []consume.Place) {
	for _, t := range request.Topics {
		for _, p := range t.Partitions {
			all = append(all, consume.Place{Topic: t.Topic, Partition: p.Partition, Offset: p.Offset})
		}
	}

	return all
}

// ask makes a request.
func (c *commits) ask(ctx context.Context, request *kmsg.OffsetCommitRequest) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	response, err := request.RequestWith(ctx, c.member.client)
	if err != nil {
		return fmt.Errorf("commit offsets: %w", err)
	}
	answered := 0
	for _, t := range response.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("commit offsets: %s/%d: %w", nameOf(t, request), p.Partition, err)
			}
			answered++
		}
	}
	for _, t := range request.Topics {
		answered -= len(t.Partitions)
	}
	if answered != 0 {
		return fmt.Errorf("commit offsets: %w", errLeftOut)
	}

	return nil
}

// nameOf returns the name of a topic in an answer, which may have only its id.
func nameOf(t kmsg.OffsetCommitResponseTopic, request *kmsg.OffsetCommitRequest) string {
	for _, asked := range request.Topics {
		if t.Topic == "" && t.TopicID == asked.TopicID {
			return asked.Topic
		}
	}

	return t.Topic
}

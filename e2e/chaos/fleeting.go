package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/history"
)

const (
	fleeting           = "fleeting" // a topic that is deleted and created again
	fleetingPartitions = 2
	fleetingRecords    = 30
)

// lives are those of the fleeting topic. Each has records of its own.
type lives struct {
	count int
	sent  []history.Record // in all of them; places mean nothing, because each life has the same
}

// begin creates the topic with its records.
func (l *lives) begin(ctx context.Context, s *stack) error {
	ctx, cancel := context.WithTimeout(ctx, 6*requestTimeout)
	defer cancel()
	for unanswered := false; ; wait(ctx, observeEvery) {
		err := createTopic(ctx, s.admin, fleeting, fleetingPartitions)
		exists := errors.Is(err, kerr.TopicAlreadyExists) // By the request without an answer, or it is being deleted.
		if err == nil || exists && unanswered {
			break
		}
		if ctx.Err() != nil {
			return err
		}
		unanswered = unanswered || !errors.As(err, new(*kerr.Error))
	}
	l.count++
	records := make([]*kgo.Record, fleetingRecords)
	for i := range records {
		records[i] = &kgo.Record{
			Topic: fleeting, Partition: int32(i % fleetingPartitions), Key: fmt.Appendf(nil, "fleeting-%d-%d", l.count, i%keysOf), Value: []byte("{}"),
			Headers: []kgo.RecordHeader{{Key: consume.DefaultEventIDHeader, Value: fmt.Appendf(nil, "fleeting-%d-%d", l.count, i)}},
		}
		l.sent = append(l.sent, recordOf(consume.ByEventID, records[i]))
	}
	results, err := s.produce(ctx, records)

	return errors.Join(err, results.FirstErr())
}

// recreate deletes the topic, at times with records that nobody has processed, and lets it begin again.
func (n *nemesis) recreate(ctx context.Context, f fault) error {
	limited, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	request := kmsg.NewPtrDeleteTopicsRequest()
	of := kmsg.NewDeleteTopicsRequestTopic()
	of.Topic = new(fleeting)
	request.Topics, request.TopicNames = append(request.Topics, of), []string{fleeting}
	response, err := request.RequestWith(limited, n.stack.admin)
	if err == nil {
		err = kerr.ErrorForCode(response.Topics[0].ErrorCode)
	}
	if err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) { // The former attempt came this far.
		return fmt.Errorf("delete the topic: %w", err)
	}
	wait(ctx, f.between(0, time.Second))

	return n.lives.begin(context.WithoutCancel(ctx), n.stack)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/history"
)

// elect kills the follower of a partition, has its leader acknowledge records alone, kills the leader, too, and brings
// the follower back, which then leads without them.
const elect = "unclean election"

// The frail topic has two replicas, of which one is enough: it is the only one that an election can be unclean in. Nobody
// else writes to it, so nothing but that can be lost.
const (
	frail           = "frail"
	frailPartitions = 3
)

// elections are those of the frail topic, and all that was sent to it.
type elections struct {
	mode  consume.Mode
	count int // of events
	sent  []history.Sent
	held  []history.Election
}

// begin creates the topic with a few records.
func (e *elections) begin(ctx context.Context, s *stack) error {
	of := kmsg.NewCreateTopicsRequestTopic()
	of.Topic, of.NumPartitions, of.ReplicationFactor = frail, -1, -1
	for number := range int32(frailPartitions) {
		replicas := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		replicas.Partition, replicas.Replicas = number, replicasOf(history.Partition{Topic: frail, Partition: number})
		of.ReplicaAssignment = append(of.ReplicaAssignment, replicas)
	}
	for name, value := range map[string]string{"unclean.leader.election.enable": "true", "min.insync.replicas": "1"} {
		setting := kmsg.NewCreateTopicsRequestTopicConfig()
		setting.Name, setting.Value = name, new(value)
		of.Configs = append(of.Configs, setting)
	}
	if err := createTopicAs(ctx, s.admin, of); err != nil {
		return fmt.Errorf("%s: %w", frail, err)
	}
	for number := range int32(frailPartitions) {
		if err := e.send(ctx, s, number, keysOf); err != nil {
			return err
		}
	}

	return nil
}

// send sends events to a partition, some of them poison. All must be acknowledged.
func (e *elections) send(ctx context.Context, s *stack, partition int32, events int) error {
	records := make([]*kgo.Record, events)
	for i := range records {
		e.count++
		value := []byte("{}")
		if e.count%17 == 0 {
			value = poison
		}
		records[i] = &kgo.Record{
			Topic: frail, Partition: partition, Key: fmt.Appendf(nil, "frail-%d-%d", partition, i%keysOf), Value: value,
			Headers: []kgo.RecordHeader{{Key: consume.DefaultEventIDHeader, Value: fmt.Appendf(nil, "frail-%d", e.count)}},
		}
	}
	at := time.Now()
	results, err := s.produce(ctx, records)
	if err != nil {
		return err
	}
	for _, result := range results {
		sent := history.Sent{Record: recordOf(e.mode, result.Record), At: at, Producer: frail, Fate: history.Acknowledged}
		if result.Err != nil {
			sent.Fate = history.Unsure
		}
		e.sent = append(e.sent, sent)
	}

	return results.FirstErr()
}

func (n *nemesis) elect(ctx context.Context, f fault) (err error) {
	n.brokers.Lock()
	defer n.brokers.Unlock()
	p := history.Partition{Topic: frail, Partition: int32(f.pick % frailPartitions)}
	const both = 2
	if _, _, err := n.awaitInSync(ctx, p, both); err != nil {
		return err
	}
	election := history.Election{Partition: p, From: time.Now()}
	if err := n.elections.send(ctx, n.stack, p.Partition, keysOf); err != nil {
		return err
	}
	ends, err := endsOf(ctx, n.stack.admin, []history.Partition{p})
	if err != nil {
		return err
	}
	election.End = ends[p]
	leader, follower, err := n.awaitInSync(ctx, p, both) // So the follower has all before that end.
	if err != nil {
		return err
	}
	defer func() {
		recovered := n.recover(ctx)
		_, _, inSync := n.awaitInSync(ctx, p, both) // Else the next broker that ends has another one held.
		err = errors.Join(err, recovered, inSync)
	}()
	err = n.overturn(ctx, f, p, leader, follower)
	election.To = time.Now()
	n.elections.held = append(n.elections.held, election)
	if err != nil {
		return err
	}

	return n.elections.send(ctx, n.stack, p.Partition, 1+int(f.pick>>8%50)) // It may end before where it was cut, or behind.
}

// overturn has the follower lead without the last records, which may be processed by then.
func (n *nemesis) overturn(ctx context.Context, f fault, p history.Partition, leader, follower int) error {
	n.stack.kafka.Kill(follower)
	if _, _, err := n.awaitInSync(ctx, p, 1); err != nil {
		return err
	}
	if err := n.elections.send(ctx, n.stack, p.Partition, 1+int(f.pick>>16%50)); err != nil {
		return err
	}
	wait(ctx, f.between(0, 3*time.Second))
	n.stack.kafka.Kill(leader)
	if err := n.recover(ctx, follower); err != nil {
		return err
	}
	for {
		now, _, err := n.awaitInSync(ctx, p, 1)
		if err != nil || now == follower {
			return err
		}
		wait(ctx, observeEvery)
	}
}

// awaitInSync returns once so many replicas of a partition are in sync, which one leads, and which does not.
func (n *nemesis) awaitInSync(ctx context.Context, p history.Partition, replicas int) (leader, follower int, err error) {
	ctx, cancel := context.WithTimeout(ctx, n.plan.patience)
	defer cancel()
	of := kmsg.NewMetadataRequestTopic()
	of.Topic = new(p.Topic)
	request := kmsg.NewPtrMetadataRequest()
	request.Topics = append(request.Topics, of)
	for ; ctx.Err() == nil; wait(ctx, observeEvery) {
		limited, cancel := context.WithTimeout(ctx, requestTimeout)
		response, err := request.RequestWith(limited, n.stack.admin)
		cancel()
		if err != nil || len(response.Topics) != 1 {
			continue
		}
		for _, found := range response.Topics[0].Partitions {
			if found.Partition != p.Partition || found.ErrorCode != 0 || len(found.ISR) != replicas || len(found.Replicas) != 2 {
				continue
			}
			leader, follower = int(found.Leader), int(found.Replicas[0])
			if leader == follower {
				follower = int(found.Replicas[1])
			}

			return leader, follower, nil
		}
	}

	return 0, 0, fmt.Errorf("%d replicas of %v are not in sync: %w", replicas, p, ctx.Err())
}

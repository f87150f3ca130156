package e2e_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
)

// While nobody looked, the log was truncated at offset 15 by an unclean election and has been filled
// anew to offset 40, beyond the checkpoint at 20: records 15 to 19 are others than those that were
// processed. Only the leader epoch tells.
func TestTruncatedLog(t *testing.T) {
	t.Parallel()
	s := setup(t, broker.InProcess(t), 1)
	s.broker.Write(t, s.topic, events(0, 20, 1)...)
	m := s.start(t, nil)
	s.awaitCommitted(t, 20)
	m.leave(t)
	var stored int
	if err := s.pool.QueryRow(t.Context(), `SELECT leader_epoch FROM idem.checkpoints`).Scan(&stored); err != nil {
		t.Fatalf("the leader epoch is not kept: %v", err)
	}
	s.broker.Write(t, s.topic, events(20, 20, 1)...)
	var asked atomic.Int32
	asked.Store(-1)
	s.broker.Fake.ControlKey(int16(kmsg.OffsetForLeaderEpoch), func(request kmsg.Request) (kmsg.Response, error, bool) {
		s.broker.Fake.KeepControl()
		r := request.(*kmsg.OffsetForLeaderEpochRequest) //nolint:forcetypeassert // It is what the key says.
		asked.Store(r.Topics[0].Partitions[0].LeaderEpoch)
		response := r.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse) //nolint:forcetypeassert // It is what the key says.
		topic, partition := kmsg.NewOffsetForLeaderEpochResponseTopic(), kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
		topic.Topic, partition.Partition, partition.LeaderEpoch, partition.EndOffset = r.Topics[0].Topic, 0, 0, 15
		topic.Partitions = append(topic.Partitions, partition)
		response.Topics = append(response.Topics, topic)

		return response, nil, true
	})
	err := s.start(t, nil).wait(t)
	if !errors.Is(err, consume.ErrOffsetOutOfRange) || !strings.Contains(err.Error(), "truncated at offset 15") {
		t.Errorf("without a policy Run returned %v", err)
	}
	if int(asked.Load()) != stored {
		t.Errorf("it asked for epoch %d, want %d", asked.Load(), stored)
	}
	var h heard
	m = s.start(t, func(c *settings) { c.OnOutOfRange = consume.SkipToEarliest; h.config(c) })
	s.awaitEffects(t, 40)
	s.awaitCommitted(t, 40)
	m.leave(t)
	s.verify(t, 40) // 15 to 19 are the same events here, and known by their ids.
	if told := h.of(consume.EventSkipped); len(told) != 1 || told[0].Offset != 15 {
		t.Errorf("it said %+v", told)
	}
}

// A broker that lacks the last records becomes the leader, and producers write on beyond the checkpoint.
func TestUncleanElectionTruncatesTheLog(t *testing.T) {
	t.Parallel()
	b := broker.ThreeKafkas(t)
	s := setup(t, b.Broker, 1)
	const leader, follower = 1, 2 // The third broker keeps a quorum of controllers.
	s.topic = broker.Name(t)
	response, err := b.Client.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
		Topic: s.topic, NumPartitions: -1, ReplicationFactor: -1,
		ReplicaAssignments: []kafka.ReplicaAssignment{{Partition: 0, Replicas: []int{leader, follower}}},
		ConfigEntries: []kafka.ConfigEntry{
			{ConfigName: "unclean.leader.election.enable", ConfigValue: "true"}, {ConfigName: "min.insync.replicas", ConfigValue: "1"},
		},
	}}})
	if err := errors.Join(err, response.Errors[s.topic]); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.DeleteTopic(t, s.topic) })
	s.awaitInSync(t, leader, follower)
	b.Write(t, s.topic, events(0, 15, 1)...)
	b.Kill(t, follower)
	s.awaitInSync(t, leader)
	b.Write(t, s.topic, events(15, 5, 1)...)
	m := s.start(t, nil)
	s.awaitCommitted(t, 20)
	m.leave(t)
	b.Kill(t, leader)
	b.Recover(t, follower)
	s.awaitInSync(t, follower)
	b.Write(t, s.topic, events(20, 20, 1)...) // from offset 15 on

	err = s.start(t, nil).wait(t)
	if !errors.Is(err, consume.ErrOffsetOutOfRange) || !strings.Contains(err.Error(), "truncated at offset 15") {
		t.Errorf("without a policy Run returned %v", err)
	}
	m = s.start(t, func(c *settings) { c.OnOutOfRange = consume.SkipToEarliest })
	s.awaitEffects(t, 40)
	s.awaitCommitted(t, 35)
	m.leave(t)
	s.verifyOnce(t, 40)
}

// awaitInSync returns once these brokers, led by the first, and no others are in sync.
func (s *bench) awaitInSync(t *testing.T, brokers ...int) {
	t.Helper()
	until(t, fmt.Sprintf("the brokers %v to be in sync", brokers), func() bool {
		metadata, err := s.broker.Client.Metadata(t.Context(), &kafka.MetadataRequest{Topics: []string{s.topic}})
		if err != nil || len(metadata.Topics) != 1 || len(metadata.Topics[0].Partitions) != 1 {
			return false
		}
		p := metadata.Topics[0].Partitions[0]
		inSync := make([]int, len(p.Isr))
		for i, broker := range p.Isr {
			inSync[i] = broker.ID
		}

		return p.Error == nil && p.Leader.ID == brokers[0] && slices.Equal(slices.Sorted(slices.Values(inSync)), brokers)
	})
}

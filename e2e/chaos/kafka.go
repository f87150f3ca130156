package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/history"
)

const (
	requestTimeout = 20 * time.Second
	readTimeout    = 2 * time.Minute
)

func createTopic(ctx context.Context, client *kgo.Client, name string, partitions int) error {
	of := kmsg.NewCreateTopicsRequestTopic()
	of.Topic, of.NumPartitions, of.ReplicationFactor = name, int32(partitions), -1 //nolint:gosec // They are few.

	return createTopicAs(ctx, client, of)
}

func createTopicAs(ctx context.Context, client *kgo.Client, of kmsg.CreateTopicsRequestTopic) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	request := kmsg.NewPtrCreateTopicsRequest()
	request.Topics = append(request.Topics, of)
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return fmt.Errorf("create topic %s: %w", of.Topic, err)
	}

	return kerr.ErrorForCode(response.Topics[0].ErrorCode)
}

// produce sends records to their partitions, by a client that has seen nothing yet.
func (s *stack) produce(ctx context.Context, records []*kgo.Record) (kgo.ProduceResults, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(s.brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.UnknownTopicRetries(-1), kgo.RecordDeliveryTimeout(sendTimeout)) // Not each broker knows the topic yet.
	if err != nil {
		return nil, err
	}
	defer client.Close()

	return client.ProduceSync(ctx, records...), nil
}

// addPartitionTo makes the topic have so many partitions.
func addPartitionTo(ctx context.Context, client *kgo.Client, partitions int) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	of := kmsg.NewCreatePartitionsRequestTopic()
	of.Topic, of.Count = topic, int32(partitions) //nolint:gosec // They are few.
	request := kmsg.NewPtrCreatePartitionsRequest()
	request.Topics = append(request.Topics, of)
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return fmt.Errorf("add a partition: %w", err)
	}

	return kerr.ErrorForCode(response.Topics[0].ErrorCode)
}

// replicasOf are the brokers of a partition.
func replicasOf(p history.Partition) []int32 {
	first := p.Partition % 3
	all := []int32{1 + first, 1 + (first+1)%3, 1 + (first+2)%3}
	if p.Topic == frail {
		return all[:2]
	}

	return all
}

// moveLeadersOf has other brokers lead partitions of a topic: each replica list is turned, and its first elected. It is errNothing if
// all of those lead already.
func moveLeadersOf(ctx context.Context, client *kgo.Client, partitions []history.Partition, turn int) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	of := kmsg.NewAlterPartitionAssignmentsRequestTopic()
	elected := kmsg.NewElectLeadersRequestTopic()
	for _, each := range partitions {
		replicas := replicasOf(each)
		first := turn % len(replicas)
		p := kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
		p.Partition, p.Replicas = each.Partition, slices.Concat(replicas[first:], replicas[:first])
		of.Topic, of.Partitions = each.Topic, append(of.Partitions, p)
		elected.Topic, elected.Partitions = each.Topic, append(elected.Partitions, p.Partition)
	}
	move := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	move.Topics = append(move.Topics, of)
	turned, err := move.RequestWith(ctx, client)
	if err == nil {
		err = kerr.ErrorForCode(turned.ErrorCode)
	}
	if err != nil {
		return fmt.Errorf("turn the replicas: %w", err)
	}
	for _, of := range turned.Topics {
		for _, p := range of.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("turn the replicas of %s/%d: %w", of.Topic, p.Partition, err)
			}
		}
	}
	elect := kmsg.NewPtrElectLeadersRequest()
	elect.Topics = append(elect.Topics, elected)
	response, err := elect.RequestWith(ctx, client)
	if err == nil {
		err = kerr.ErrorForCode(response.ErrorCode)
	}
	if err != nil {
		return fmt.Errorf("elect the leaders: %w", err)
	}

	return anyMoved(response)
}

// anyMoved is nil if one leader has moved. The others may have led already, or be away.
func anyMoved(response *kmsg.ElectLeadersResponse) error {
	err := errNothing
	for _, of := range response.Topics {
		for _, p := range of.Partitions {
			switch found := kerr.ErrorForCode(p.ErrorCode); {
			case found == nil:
				return nil
			case !errors.Is(found, kerr.ElectionNotNeeded):
				err = fmt.Errorf("elect the leader of %s/%d: %w", of.Topic, p.Partition, found)
			}
		}
	}

	return err
}

// unlimited takes quotas away.
const unlimited = 0

// setQuotas bounds the bytes that each client may send, and fetch, in a second.
func setQuotas(ctx context.Context, client *kgo.Client, bytes float64) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	each := kmsg.NewAlterClientQuotasRequestEntryEntity()
	each.Type = "client-id"
	entry := kmsg.NewAlterClientQuotasRequestEntry()
	entry.Entity = append(entry.Entity, each)
	for _, key := range []string{"producer_byte_rate", "consumer_byte_rate"} {
		op := kmsg.NewAlterClientQuotasRequestEntryOp()
		op.Key, op.Value, op.Remove = key, bytes, bytes == unlimited
		entry.Ops = append(entry.Ops, op)
	}
	request := kmsg.NewPtrAlterClientQuotasRequest()
	request.Entries = append(request.Entries, entry)
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return fmt.Errorf("set quotas: %w", err)
	}

	return kerr.ErrorForCode(response.Entries[0].ErrorCode)
}

// committedOffsets are those of the group.
func committedOffsets(ctx context.Context, client *kgo.Client) (map[history.Partition]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	request := kmsg.NewPtrOffsetFetchRequest()
	request.Group, request.RequireStable = group, true
	response, err := request.RequestWith(ctx, client)
	if err == nil {
		err = kerr.ErrorForCode(response.ErrorCode)
	}
	if err != nil {
		return nil, fmt.Errorf("read the group's offsets: %w", err)
	}
	committed := map[history.Partition]int64{}
	for _, of := range response.Topics {
		for _, p := range of.Partitions {
			if p.ErrorCode == 0 && p.Offset >= 0 {
				committed[history.Partition{Topic: of.Topic, Partition: p.Partition}] = p.Offset
			}
		}
	}

	return committed, nil
}

// readLog reads what readers of committed records find, from the beginning to the ends. A transaction that is open at an
// end is aborted by the broker, and its marker read.
func readLog(ctx context.Context, brokers []string, ends map[history.Partition]int64) ([]*kgo.Record, error) {
	from, left := map[string]map[int32]kgo.Offset{}, map[history.Partition]bool{}
	for p, end := range ends {
		if end > 0 {
			if from[p.Topic] == nil {
				from[p.Topic] = map[int32]kgo.Offset{}
			}
			from[p.Topic][p.Partition], left[p] = kgo.NewOffset().AtStart(), true
		}
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumePartitions(from),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var log []*kgo.Record
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("read the log: %w", err)
		}
		for r := range fetches.RecordsAll() {
			if p := (history.Partition{Topic: r.Topic, Partition: r.Partition}); r.Offset >= ends[p]-1 {
				delete(left, p)
			}
			if !r.Attrs.IsControl() {
				log = append(log, r)
			}
		}
	}

	return log, nil
}

// endsOf are the ends of the partitions' logs.
func endsOf(ctx context.Context, client *kgo.Client, partitions []history.Partition) (map[history.Partition]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	request := kmsg.NewPtrListOffsetsRequest()
	request.ReplicaID = -1
	for _, of := range partitions {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp = of.Partition, -1
		if last := len(request.Topics) - 1; last < 0 || request.Topics[last].Topic != of.Topic {
			t := kmsg.NewListOffsetsRequestTopic()
			t.Topic = of.Topic
			request.Topics = append(request.Topics, t)
		}
		t := &request.Topics[len(request.Topics)-1]
		t.Partitions = append(t.Partitions, p)
	}
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return nil, fmt.Errorf("find the ends of the log: %w", err)
	}
	ends := map[history.Partition]int64{}
	for _, of := range response.Topics {
		for _, p := range of.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return nil, err
			}
			ends[history.Partition{Topic: of.Topic, Partition: p.Partition}] = p.Offset
		}
	}

	return ends, nil
}

// eventOf names the event of a record. By checkpoint alone each record is an event of its own, and another one in the same
// place, after an unclean election, is another.
func eventOf(mode consume.Mode, id string, at history.Place) string {
	if mode == consume.ByCheckpoint {
		return fmt.Sprintf("%s at %v", id, at)
	}

	return id
}

func recordOf(mode consume.Mode, r *kgo.Record) history.Record {
	record := history.Record{
		Place: history.Place{Partition: history.Partition{Topic: r.Topic, Partition: r.Partition}, Offset: r.Offset},
		Key:   string(r.Key),
	}
	for _, h := range r.Headers {
		if h.Key == consume.DefaultEventIDHeader {
			record.Event = eventOf(mode, string(h.Value), record.Place)
		}
	}

	return record
}

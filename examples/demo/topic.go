package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"
)

const (
	eventIDHeader = "idempotency_key"

	brokerTimeout = 10 * time.Second
)

// topic is the demo's topic on a broker.
type topic struct {
	client     *kafka.Client
	transport  *kafka.Transport
	name       string
	partitions int
}

func createTopic(ctx context.Context, brokers []string, name string, partitions int) (*topic, error) {
	transport := &kafka.Transport{MetadataTopics: []string{name}, MetadataTTL: time.Second}
	t := &topic{
		client:    &kafka.Client{Addr: kafka.TCP(brokers...), Timeout: brokerTimeout, Transport: transport},
		transport: transport, name: name, partitions: partitions,
	}
	response, err := t.client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
		Topic: name, NumPartitions: partitions, ReplicationFactor: -1,
	}}})
	if err == nil {
		err = response.Errors[name]
	}
	if err != nil {
		t.close()

		return nil, fmt.Errorf("create topic %s at %v: %w", name, brokers, err)
	}

	return t, nil
}

// produce writes the payments in their order, those of one account to one partition.
func (t *topic) produce(ctx context.Context, payments []payment) (err error) {
	const batch = 5_000
	writer := &kafka.Writer{
		Addr:         t.client.Addr,
		Transport:    t.transport,
		Topic:        t.name,
		Balancer:     &kafka.Hash{},
		RequiredAcks: kafka.RequireAll,
		BatchSize:    1_000,
		BatchTimeout: 5 * time.Millisecond,
	}
	defer func() { err = errors.Join(err, writer.Close()) }()

	for len(payments) > 0 {
		n := min(batch, len(payments))
		messages := make([]kafka.Message, n)
		for i, p := range payments[:n] {
			value, err := json.Marshal(p)
			if err != nil {
				return fmt.Errorf("encode a payment: %w", err)
			}
			messages[i] = kafka.Message{
				Key:     []byte("account-" + strconv.Itoa(p.Account)),
				Value:   value,
				Headers: []kafka.Header{{Key: eventIDHeader, Value: []byte(p.ID)}},
			}
		}
		if err := writer.WriteMessages(ctx, messages...); err != nil {
			return fmt.Errorf("produce: %w", err)
		}
		payments = payments[n:]
	}

	return nil
}

// end returns how many records the topic holds: nobody else writes to it and nothing is
// removed, so that offsets count records.
func (t *topic) end(ctx context.Context) (int64, error) {
	requests := make([]kafka.OffsetRequest, t.partitions)
	for p := range requests {
		requests[p] = kafka.LastOffsetOf(p)
	}
	response, err := t.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{
		Topics: map[string][]kafka.OffsetRequest{t.name: requests},
	})
	if err != nil {
		return 0, fmt.Errorf("read the end of topic %s: %w", t.name, err)
	}
	var end int64
	for _, p := range response.Topics[t.name] {
		if p.Error != nil {
			return 0, fmt.Errorf("read the end of partition %d: %w", p.Partition, p.Error)
		}
		end += p.LastOffset
	}

	return end, nil
}

// committed returns how many records the group has committed.
func (t *topic) committed(ctx context.Context, group string) (int64, error) {
	partitions := make([]int, t.partitions)
	for p := range partitions {
		partitions[p] = p
	}
	response, err := t.client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{
		GroupID: group, Topics: map[string][]int{t.name: partitions},
	})
	if err == nil {
		err = response.Error
	}
	if err != nil {
		return 0, fmt.Errorf("read the offsets of group %s: %w", group, err)
	}
	var committed int64
	for _, p := range response.Topics[t.name] {
		if p.Error != nil {
			return 0, fmt.Errorf("read the offset of group %s in partition %d: %w", group, p.Partition, p.Error)
		}
		committed += max(0, p.CommittedOffset) // -1: none yet
	}

	return committed, nil
}

// group is the name of a consumer's group.
func (t *topic) group(consumer string) string { return t.name + "_" + consumer }

// close closes the connections.
func (t *topic) close() { t.transport.CloseIdleConnections() }

// remove deletes the topic and the groups.
func (t *topic) remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), brokerTimeout)
	defer cancel()
	deleted, err := t.client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{t.name}})
	if err == nil {
		err = deleted.Errors[t.name]
	}
	if err != nil {
		err = fmt.Errorf("delete topic %s: %w", t.name, err)
	}

	return errors.Join(err, t.removeGroup(ctx, t.group(guardedConsumer)), t.removeGroup(ctx, t.group(naiveConsumer)))
}

// removeGroup deletes a group once the broker no longer waits for those who were killed.
func (t *topic) removeGroup(ctx context.Context, group string) error {
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	for {
		deleted, err := t.client.DeleteGroups(ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{group}})
		if err == nil {
			err = deleted.Errors[group]
		}
		if err == nil || errors.Is(err, kafka.GroupIdNotFound) {
			return nil
		}
		if !errors.Is(err, kafka.NonEmptyGroup) {
			return fmt.Errorf("delete group %s: %w", group, err)
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return fmt.Errorf("delete group %s: %w", group, err)
		}
	}
}

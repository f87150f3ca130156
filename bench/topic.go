package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nova-events/idempotent-consumer/consume"
)

const (
	eventIDHeader = consume.DefaultEventIDHeader

	valueSize = 200
)

// createTopic creates a topic.
func (all *servers) createTopic(ctx context.Context, topic string, partitions int) error {
	transport := &kafka.Transport{MetadataTTL: time.Second}
	defer transport.CloseIdleConnections()
	admin := &kafka.Client{Addr: kafka.TCP(all.brokers...), Timeout: patience, Transport: transport}
	response, err := admin.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
		Topic: topic, NumPartitions: partitions, ReplicationFactor: -1,
	}}})
	if err == nil {
		err = response.Errors[topic]
	}
	if err != nil {
		return fmt.Errorf("create a topic: %w", err)
	}

	return nil
}

// producer makes a producer whose records name their partitions.
func (all *servers) producer(topic string, linger time.Duration) (*kgo.Client, error) {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(all.brokers...), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerLinger(linger),
	)
	if err != nil {
		return nil, fmt.Errorf("make a producer: %w", err)
	}

	return client, nil
}

// fill creates a topic and produces the records, each to the partition of its account.
func (all *servers) fill(ctx context.Context, topic string, s settings, records int) error {
	if err := all.createTopic(ctx, topic, s.Partitions); err != nil {
		return err
	}
	client, err := all.producer(topic, 5*time.Millisecond)
	if err != nil {
		return err
	}
	defer client.Close()
	streams := make([]*stream, s.Partitions)
	for i := range streams {
		streams[i] = newStream(baseLoad, i, s.Partitions, s.Accounts)
	}
	var (
		mu     sync.Mutex
		failed error
	)
	next := make([]event, 1)
	for i := range records {
		partition := i % s.Partitions
		streams[partition].fill(next)
		client.Produce(ctx, record(next[0], partition), func(_ *kgo.Record, err error) {
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = err
			}
		})
	}
	err = client.Flush(ctx)
	mu.Lock()
	defer mu.Unlock()
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("produce: %w", err)
	}

	return nil
}

func record(e event, partition int) *kgo.Record {
	account := strconv.Itoa(int(e.Account))
	value := account + " " + strconv.FormatInt(e.Amount, 10) + " "

	return &kgo.Record{
		Partition: int32(partition), //nolint:gosec // There are few.
		Key:       []byte(account),
		Value:     []byte(value + strings.Repeat(".", valueSize-len(value))),
		Headers:   []kgo.RecordHeader{{Key: eventIDHeader, Value: []byte(e.ID)}},
	}
}

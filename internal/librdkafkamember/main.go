//go:build cgo

// Command librdkafkamember is a member of a consumer group on librdkafka, for tests. It writes the
// partition and the offset of each record that it consumes, one record a line, and leaves the group
// when its input ends. It is a module of its own because librdkafka is large and needs a C compiler.
//
// The arguments are the brokers, the group, the topic, the session timeout and the heartbeat interval
// in milliseconds, the assignors, and the instance id of a static member.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

const pollMillis = 100

func main() {
	ctx, leave := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		leave()
	}()
	if err := consume(ctx, os.Args[1:]); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func consume(ctx context.Context, args []string) error {
	if len(args) != 7 {
		return fmt.Errorf("%d arguments are given, want 7", len(args))
	}
	consumer, err := kafka.NewConsumer(&kafka.ConfigMap{
		"bootstrap.servers": args[0], "group.id": args[1], "client.id": "librdkafka", "auto.offset.reset": "earliest",
		"session.timeout.ms": args[3], "heartbeat.interval.ms": args[4], "partition.assignment.strategy": args[5],
		"group.instance.id":        args[6],
		"enable.auto.offset.store": false, // Close drops what has been fetched, and would store it.
	})
	if err != nil {
		return fmt.Errorf("create the consumer: %w", err)
	}
	if err := consumer.Subscribe(args[2], nil); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	for committed := false; !committed; {
		last := ctx.Err() != nil
		switch event := consumer.Poll(pollMillis).(type) {
		case *kafka.Message:
			_, _ = fmt.Fprintln(os.Stdout, event.TopicPartition.Partition, int64(event.TopicPartition.Offset))
			if _, err := consumer.StoreMessage(event); err != nil {
				return fmt.Errorf("store an offset: %w", err)
			}
		case kafka.Error: // librdkafka tries again by itself.
			_, _ = fmt.Fprintln(os.Stderr, event)
		}
		committed = last && commit(consumer)
	}
	if err := consumer.Close(); err != nil {
		return fmt.Errorf("leave the group: %w", err)
	}

	return nil
}

// commit commits what was consumed and tells whether it need not be tried again: in a rebalance it cannot be
// done, and Poll has to complete that first. Close commits, too, but does not say whether it could.
func commit(consumer *kafka.Consumer) bool {
	_, err := consumer.Commit()
	if err == nil || isCode(err, kafka.ErrNoOffset) { // There is nothing to commit.
		return true
	}
	_, _ = fmt.Fprintln(os.Stderr, "commit:", err)

	return !isCode(err, kafka.ErrRebalanceInProgress)
}

func isCode(err error, code kafka.ErrorCode) bool {
	var failed kafka.Error

	return errors.As(err, &failed) && failed.Code() == code
}

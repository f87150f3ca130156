package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/IBM/sarama"
	watermillkafka "github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"
)

const watermillName = "watermill"

// consumeByWatermill is a consumer written with Watermill: its Kafka subscriber, its router, and the
// transaction of the hand-written consumer in the handler. Partitions are processed side by side. Its
// own Deduplicator is no peer, because it remembers what it has seen in memory.
func consumeByWatermill(ctx context.Context, f *feed) error {
	consumerID, err := registered(ctx, f.pool)
	if err != nil {
		return err
	}
	config := watermillkafka.DefaultSaramaSubscriberConfig()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	subscriber, err := watermillkafka.NewSubscriber(watermillkafka.SubscriberConfig{
		Brokers: f.brokers, ConsumerGroup: f.group, OverwriteSaramaConfig: config,
	}, nil)
	if err != nil {
		return fmt.Errorf("make a subscriber: %w", err)
	}
	defer subscriber.Close() //nolint:errcheck // Nothing is read any more.
	router, err := message.NewRouter(message.RouterConfig{}, nil)
	if err != nil {
		return fmt.Errorf("make a router: %w", err)
	}
	ctx, fail := context.WithCancelCause(ctx) // The router would try again for ever.
	defer fail(nil)
	handle := func(m *message.Message) error { //nolint:contextcheck // The message brings its own.
		partition, _ := watermillkafka.MessagePartitionFromCtx(m.Context())
		e, err := parse(partition, m.Metadata.Get(eventIDHeader), m.Payload)
		if err != nil {
			return err
		}
		fresh, err := handleByHand(context.WithoutCancel(m.Context()), f.pool, consumerID, e)
		if err != nil {
			return err
		}
		f.did(e.Partition, fresh)

		return nil
	}
	router.AddConsumerHandler("bench", f.topic, subscriber, func(m *message.Message) error {
		err := handle(m)
		if err != nil {
			fail(fmt.Errorf("consumer with Watermill: %w", err))
		}

		return err
	})
	if err := router.Run(ctx); err != nil {
		return fmt.Errorf("run the router: %w", err)
	}
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}

	return nil
}

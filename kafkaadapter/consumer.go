package kafkaadapter

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/fetch"
)

// retryPauses are those between the tries of whatever fails.
var retryPauses = backoff.Exponential{Initial: 100 * time.Millisecond, Max: 2 * time.Second}

// Consumer is one member of a consumer group. Make several, in one process or in many, to
// share the partitions.
type Consumer struct {
	guard   *idem.Guard
	config  Config
	brokers net.Addr
	running atomic.Bool

	collisions oncePer // when one was logged
	pool       poolWatch
}

// New returns a Consumer whose handler runs in the transactions of guard. It does no I/O. It warns
// (Config.Logger) if SASL sends a password over the network without TLS, or TLS trusts any certificate.
// Errors wrap ErrInvalidConfig.
func New(guard *idem.Guard, config Config) (*Consumer, error) {
	if guard == nil {
		return nil, fmt.Errorf("%w: the guard is nil; make one with idem.New", ErrInvalidConfig)
	}
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, err
	}
	if err := checkPool(guard.Pool(), config); err != nil {
		return nil, err
	}
	if batch := config.HandleBatch; batch != nil {
		config.Handle = func(ctx context.Context, tx pgx.Tx, m Message) error { return batch(ctx, tx, []Message{m}) }
	}
	config.Logger = config.Logger.With("group", config.Group)
	config.Observe = config.observeSafely()
	config.warnOfNetwork()

	return &Consumer{guard: guard, config: config, brokers: kafka.TCP(config.Brokers...)}, nil
}

// Run consumes until ctx ends, and then returns nil: it finishes the records in progress
// (Config.DrainTimeout), commits their offsets and leaves the group. PostgreSQL or Kafka being
// away does not end it; it waits for them and goes on. What no retry can heal ends it with an
// error: *RecordError, ErrUnknownTopic, ErrOffsetOutOfRange, ErrUnreadable, a kafka.Error by
// which the broker refuses the configuration or the user, or those of idem.Guard.Register and Bind.
func (c *Consumer) Run(ctx context.Context) error {
	if !c.running.CompareAndSwap(false, true) {
		return ErrRunning
	}
	defer c.running.Store(false)

	if err := c.register(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	watching, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { c.pool.run(watching, c) })
	defer watch.Wait()
	defer stop()
	connections := newConnections(c.config)
	defer func() { connections.cut(time.Now()) }() // Fetches under way would end only after MaxWait.
	for {
		cluster, err := c.awaitTopics(ctx, connections)
		if err != nil || ctx.Err() != nil {
			return err
		}
		if err := c.bind(ctx, cluster.ID); err != nil || ctx.Err() != nil {
			return err
		}
		if err := c.consume(ctx, connections, cluster.Topics); err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// consume is a member of the group for these topics until there are others, or ctx ends.
func (c *Consumer) consume(ctx context.Context, connections *connections, topics []fetch.Topic) error {
	names := topicNames(topics)
	member, err := join(c.config, names, connections)
	if err != nil {
		return err
	}
	transport := connections.transport(c.config, slices.Concat(names, c.deadLetterTopics(names)))
	defer transport.CloseIdleConnections()
	client := &kafka.Client{Addr: c.brokers, Transport: transport, Timeout: requestTimeout}
	defer member.end(ctx, client, c.config.Group)
	defer context.AfterFunc(ctx, member.leave)()

	for {
		err := c.runGeneration(ctx, member, client, topics)
		switch {
		case ctx.Err() != nil && errors.Is(err, kafka.ErrGroupClosed):
			return nil
		case err != nil:
			return err
		}
		cluster, err := c.awaitTopics(ctx, connections)
		if err != nil || ctx.Err() != nil || !slices.Equal(names, topicNames(cluster.Topics)) {
			return err
		}
		topics = cluster.Topics
	}
}

// register finds mistakes before the first record does, and waits for PostgreSQL to come up.
func (c *Consumer) register(ctx context.Context) error {
	return c.await(ctx, func() error { return c.guard.Register(ctx) })
}

// bind makes sure that no other group uses the guard's consumer.
func (c *Consumer) bind(ctx context.Context, cluster string) error {
	return c.await(ctx, func() error { return c.guard.Bind(ctx, cluster, c.config.Group) })
}

// await waits for PostgreSQL to come up.
func (c *Consumer) await(ctx context.Context, try func() error) error {
	for failed := 1; ; failed++ {
		err := try()
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // It was told to stop.
		case err == nil || !idem.IsTransient(err):
			return err
		}
		c.config.Logger.WarnContext(ctx, "kafkaadapter: waiting for PostgreSQL", "error", err)
		backoff.Sleep(ctx, retryPauses.Pause(failed))
	}
}

// runGeneration takes part in one generation of the group, from its beginning to its end.
func (c *Consumer) runGeneration(ctx context.Context, member *membership, client *kafka.Client, topics []fetch.Topic) error {
	generation, err := member.next(ctx)
	switch {
	case ctx.Err() != nil:
		return kafka.ErrGroupClosed
	case err == nil:
		return newGeneration(c, generation, member, client, topics).run(ctx)
	case errors.Is(err, kafka.ErrGroupClosed):
		return err
	}
	if err := fatal(err); err != nil {
		return err
	}
	// kafka-go has logged it and pauses by itself.

	return nil
}

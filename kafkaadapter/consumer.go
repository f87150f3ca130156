package kafkaadapter

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
)

// retryPauses are those between the tries of whatever fails.
var retryPauses = backoff.Exponential{Initial: 100 * time.Millisecond, Max: 10 * time.Second}

// Consumer is one member of a consumer group. Make several, in one process or in many, to
// share the partitions.
type Consumer struct {
	guard   *idem.Guard
	config  Config
	brokers net.Addr
	running atomic.Bool
}

// New returns a Consumer whose handler runs in the transactions of guard. It does no I/O.
// Errors wrap ErrInvalidConfig.
func New(guard *idem.Guard, config Config) (*Consumer, error) {
	if guard == nil {
		return nil, fmt.Errorf("%w: the guard is nil; make one with idem.New", ErrInvalidConfig)
	}
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, err
	}
	config.Logger = config.Logger.With("group", config.Group)

	return &Consumer{guard: guard, config: config, brokers: kafka.TCP(config.Brokers...)}, nil
}

// Run consumes until ctx ends, and then returns nil: it finishes the records in progress
// (Config.DrainTimeout), commits their offsets and leaves the group. PostgreSQL or Kafka being
// away does not end it; it waits for them and goes on. What no retry can heal ends it with an
// error: *RecordError, ErrUnknownTopic, ErrOffsetOutOfRange, ErrUnreadable, a kafka.Error by
// which the broker refuses the configuration or the user, or those of idem.Guard.Register.
func (c *Consumer) Run(ctx context.Context) error {
	if !c.running.CompareAndSwap(false, true) {
		return ErrRunning
	}
	defer c.running.Store(false)

	if err := c.register(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	connections := newConnections()
	transport := connections.transport(c.config)
	defer func() {
		transport.CloseIdleConnections()
		connections.cut(time.Now()) // Fetches under way would end only after MaxWait.
	}()
	member, err := join(c.config, connections)
	if err != nil {
		return err
	}
	client := &kafka.Client{Addr: c.brokers, Transport: transport, Timeout: requestTimeout}
	defer member.end(ctx, client, c.config.Group)
	defer context.AfterFunc(ctx, member.leave)()

	for {
		if err := c.awaitTopics(ctx, client); err != nil || ctx.Err() != nil {
			return err
		}
		err := c.runGeneration(ctx, member, client)
		switch {
		case ctx.Err() != nil && errors.Is(err, kafka.ErrGroupClosed):
			return nil
		case err != nil:
			return err
		}
	}
}

// register finds mistakes before the first record does, and waits for PostgreSQL to come up.
func (c *Consumer) register(ctx context.Context) error {
	for failed := 1; ; failed++ {
		err := c.guard.Register(ctx)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // It was told to stop.
		case err == nil || !idem.IsTransient(err):
			return err //nolint:wrapcheck // It is documented as the guard's.
		}
		c.config.Logger.WarnContext(ctx, "kafkaadapter: waiting for PostgreSQL", "error", err)
		backoff.Sleep(ctx, retryPauses.Pause(failed))
	}
}

// runGeneration takes part in one generation of the group, from its beginning to its end.
func (c *Consumer) runGeneration(ctx context.Context, member *membership, client *kafka.Client) error {
	generation, err := member.next(ctx)
	switch {
	case ctx.Err() != nil:
		return kafka.ErrGroupClosed
	case err == nil:
		return newGeneration(c, generation, member, client).run(ctx)
	case errors.Is(err, kafka.ErrGroupClosed):
		return err
	}
	if err := fatal(err); err != nil {
		return err
	}
	// kafka-go has logged it and pauses by itself.

	return nil
}

// awaitTopics returns when all topics exist. kafka-go's group would spin without them.
func (c *Consumer) awaitTopics(ctx context.Context, client *kafka.Client) error {
	deadline := time.Now().Add(c.config.TopicGrace)
	for failed := 1; ; failed++ {
		err := c.findTopics(ctx, client)
		switch {
		case err == nil || ctx.Err() != nil:
			return nil //nolint:nilerr // All is there, or it was told to stop.
		case unknownTopic(err) && time.Now().After(deadline):
			return fmt.Errorf("%w: %w; create it or correct Config.Topics", ErrUnknownTopic, err)
		case !unknownTopic(err):
			if err := fatal(err); err != nil {
				return err
			}
			deadline = time.Now().Add(c.config.TopicGrace) // Nobody has said that it is missing.
		}
		c.config.Logger.WarnContext(ctx, "kafkaadapter: waiting for the topics", "error", err)
		backoff.Sleep(ctx, min(time.Second, retryPauses.Pause(failed)))
	}
}

func (c *Consumer) findTopics(ctx context.Context, client *kafka.Client) error {
	response, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: c.config.Topics})
	if err != nil {
		return fmt.Errorf("look for the topics: %w", err)
	}
	for _, topic := range response.Topics {
		if topic.Error != nil {
			return fmt.Errorf("topic %q: %w", topic.Name, topic.Error)
		}
	}

	return nil
}

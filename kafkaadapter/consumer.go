package kafkaadapter

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/engine"
	"github.com/nova-events/idempotent-consumer/internal/topics"
	"github.com/nova-events/idempotent-consumer/internal/unverified"
	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/fetch"
)

// Consumer is one member of a consumer group. Make several, in one process or in many, to
// share the partitions.
type Consumer struct {
	config  Config
	consume consume.Config
	engine  *engine.Engine
	topics  *topics.Finder
}

// New returns a Consumer that gets records from source and processes them as config says, in
// transactions of guard. It does no I/O. It warns (consume.Config.Logger) if SASL sends a password
// over the network without TLS, or TLS trusts any certificate. Errors wrap consume.ErrInvalidConfig.
func New(guard *idem.Guard, source Config, config consume.Config) (*Consumer, error) {
	if guard == nil {
		return nil, fmt.Errorf("%w: the guard is nil; make one with idem.New", consume.ErrInvalidConfig)
	}
	source = source.withDefaults()
	if err := source.settings().Validate(); err != nil {
		return nil, err
	}
	config, err := source.complete(config)
	if err != nil {
		return nil, err
	}
	if err := config.CheckPool(guard); err != nil {
		return nil, err
	}
	config.Logger = config.Logger.With("group", source.Group)
	unverified.WarnOfBrokers(config.Logger, source.Brokers, source.TLS, source.SASL)

	c := &Consumer{config: source, consume: config, engine: engine.New(guard, config, source.Group)}
	c.topics = topics.NewFinder(source.settings(), config.Failure.DeadLetterSuffix, client, config.Logger, c.engine.Starts)

	return c, nil
}

// Run consumes until ctx ends, and then returns nil: it finishes the records in progress
// (consume.Config.DrainTimeout), commits their offsets and leaves the group. If PostgreSQL or Kafka is
// away, Run waits and goes on. Errors that no retry can solve end it: *consume.RecordError,
// consume.ErrUnknownTopic, ErrOffsetOutOfRange, ErrUnreadable, a kafka.Error by which the broker
// refuses the configuration or the user, or those of idem.Guard.Register and Bind.
func (c *Consumer) Run(ctx context.Context) error {
	return c.engine.Live(func() error { return c.run(ctx) })
}

// Health returns what the consumer is doing. It does no I/O and may be called at any time.
func (c *Consumer) Health() consume.Health { return c.engine.Health() }

func (c *Consumer) run(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { c.engine.Become(consume.Leaving, nil) })()
	if err := c.engine.Register(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	watching, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { c.engine.Watch(watching) })
	defer watch.Wait()
	defer stop()
	connections := newConnections(c.config)
	defer connections.Close()
	member := newMembership(ctx, c, connections)
	defer member.Leave(ctx)
	for {
		found, err := c.topics.Await(ctx, c.ask(connections))
		if err != nil || ctx.Err() != nil {
			return err
		}
		if err := c.engine.Bind(ctx, found.ID); err != nil || ctx.Err() != nil {
			return err
		}
		if err := c.runGroup(ctx, member, found.Topics); err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// runGroup takes part in the group for these topics until there are others, or ctx ends.
func (c *Consumer) runGroup(ctx context.Context, member *membership, all []topics.Topic) error {
	names := topics.Names(all)
	connections := member.connections
	connections.Follow(slices.Concat(names, c.topics.DeadLetterTopics(names)))
	connections.fetcher = fetch.New(connections.Client, c.config.ClientID, &connections.quota)
	defer connections.fetcher.Close() //nolint:contextcheck // What it fetches for has ended.

	for {
		c.engine.Become(consume.Joining, nil)
		generation, err := member.Join(ctx, names)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fatal(err)
		}
		c.engine.Joined(generation.MemberID, generation.ID)
		if err := newGeneration(c, generation, member, all).run(ctx); err != nil {
			return err
		}
		found, err := c.topics.Await(ctx, c.ask(connections))
		if err != nil || ctx.Err() != nil || !slices.Equal(names, topics.Names(found.Topics)) {
			return err
		}
		all = found.Topics
	}
}

package franzadapter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/engine"
	"github.com/nova-events/idempotent-consumer/internal/topics"
	"github.com/nova-events/idempotent-consumer/internal/unverified"
)

// leaveTimeout is how long a member that stops waits for the broker to let it go.
const leaveTimeout = 2 * time.Second

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
	if err := source.validate(); err != nil {
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
	if err := kgo.ValidateOpts(source.options(context.Background(), &member{}, config.Logger)...); err != nil {
		return nil, fmt.Errorf("%w: %w", consume.ErrInvalidConfig, err)
	}

	return c, nil
}

// Run consumes until ctx ends, and then returns nil: it finishes the records in progress
// (consume.Config.DrainTimeout), commits their offsets and leaves the group, unless it is a static
// member. If PostgreSQL or Kafka is away, Run waits and goes on. Errors that no retry can solve end
// it: *consume.RecordError, consume.ErrUnknownTopic, ErrOffsetOutOfRange, ErrUnreadable, a *kerr.Error
// by which the broker refuses the configuration or the user, or those of idem.Guard.Register and Bind.
func (c *Consumer) Run(ctx context.Context) error {
	return c.engine.Live(func() error { return c.run(ctx) })
}

// Health returns what the consumer is doing. It does no I/O and may be called at any time.
func (c *Consumer) Health() consume.Health { return c.engine.Health() }

func (c *Consumer) run(ctx context.Context) error {
	if err := c.engine.Register(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	var beside sync.WaitGroup
	defer beside.Wait()
	defer stop()
	beside.Go(func() { c.engine.Watch(ctx) })
	defer context.AfterFunc(ctx, func() { c.engine.Become(consume.Leaving, nil) })()

	m, connected, cut, err := c.connect(ctx, stop)
	if err != nil {
		return err
	}
	defer m.puller.requests.Wait()
	defer m.client.Close()
	defer cut() // Requests under way would end only after MaxWait.
	found, err := c.topics.Await(ctx, m.ask)
	if err == nil && ctx.Err() == nil {
		err = c.checkBroker(ctx, m.client)
	}
	if err == nil && ctx.Err() == nil {
		err = c.engine.Bind(ctx, found.ID)
	}
	if err != nil || ctx.Err() != nil {
		return err
	}
	m.runGroup(ctx, connected, found.Topics)
	m.mu.Lock()
	defer m.mu.Unlock()

	return m.failure
}

// connect makes the member and its client, which lives in a context of its own: offsets are committed
// after ctx has ended.
func (c *Consumer) connect(ctx context.Context, stop context.CancelFunc) (m *member, connected context.Context, cut context.CancelFunc, err error) {
	m = &member{
		consumer: c, log: c.consume.Logger, stop: stop, view: newView(nil), asking: newTurns(), assignments: make(map[partition]*assignment), session: make(chan struct{}),
	}
	connected, cut = context.WithCancel(context.WithoutCancel(ctx))
	m.client, err = kgo.NewClient(c.config.options(connected, m, m.log)...)
	if err != nil {
		cut()

		return nil, nil, nil, fmt.Errorf("%w: %w", consume.ErrInvalidConfig, err)
	}
	m.decompressor, _ = m.client.OptValue(kgo.WithDecompressor).(kgo.Decompressor)
	m.puller, m.commits = newPuller(m.client, m.view, &c.config), newCommits(m, m.log)

	return m, connected, cut, nil
}

// runGroup is a member of the group until ctx ends.
func (m *member) runGroup(ctx, connected context.Context, all []topics.Topic) {
	m.view.latest.Store(newLook(all))
	m.consumer.engine.Become(consume.Joining, nil)
	m.client.AddConsumeTopics(topics.Names(all)...)
	var beside sync.WaitGroup
	beside.Go(func() { m.watch(ctx) })
	beside.Go(func() { m.commitUntil(ctx) })
	<-ctx.Done()
	m.close(connected)
	beside.Wait()
	m.leave(connected)
	m.workers.Wait()
}

// leave leaves the group. If that fails, the group misses this member after its session.
func (m *member) leave(connected context.Context) {
	ctx, cancel := context.WithTimeout(connected, leaveTimeout)
	defer cancel()
	id, _ := m.client.GroupMetadata()
	err := m.client.LeaveGroupContext(ctx)
	if config := &m.consumer.config; config.ServerSideBalancer && config.InstanceID != "" {
		err = m.leaveForNow(ctx, id)
	}
	if err != nil && !errors.Is(err, kerr.UnknownMemberID) {
		m.log.WarnContext(ctx, "franzadapter: the broker was not told that this member leaves, and will miss it after its session", "error", err)
	}
}

// leaveForNow tells the broker that this static member will come back (KIP-848), once nothing heartbeats any
// more. franz-go does so too, but without the name of the instance (seen in 1.22.3), and the broker refuses
// that; until the session had ended it would refuse the member that comes back, too.
func (m *member) leaveForNow(ctx context.Context, id string) error {
	if id == "" {
		return nil // It has never joined.
	}
	config := &m.consumer.config
	request := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	request.Group, request.MemberID, request.InstanceID, request.MemberEpoch = config.Group, id, &config.InstanceID, -2
	response, err := request.RequestWith(ctx, m.client)
	if err != nil {
		return fmt.Errorf("leave: %w", err)
	}

	return kerr.ErrorForCode(response.ErrorCode)
}

// commitUntil commits periodically until ctx ends.
func (m *member) commitUntil(ctx context.Context) {
	ticker := time.NewTicker(m.consumer.consume.CommitInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			m.commits.flush(ctx)
		}
	}
}

// checkBroker refuses a broker that does not share the partitions by itself, if that is wanted: franz-go
// would share them in another way.
func (c *Consumer) checkBroker(ctx context.Context, client *kgo.Client) error {
	if !c.config.ServerSideBalancer {
		return nil
	}
	request := kmsg.NewPtrApiVersionsRequest()
	request.ClientSoftwareName, request.ClientSoftwareVersion = "kgo", "unknown"
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return nil //nolint:nilerr // The group finds out.
	}
	const needed = 1
	for _, key := range response.ApiKeys {
		if key.ApiKey == kmsg.ConsumerGroupHeartbeat.Int16() && key.MaxVersion >= needed {
			return nil
		}
	}

	return &engine.FatalError{Err: errors.New("franzadapter: the broker does not assign the partitions of a group (KIP-848): use Kafka 4.3 or later, or leave Config.ServerSideBalancer out")}
}

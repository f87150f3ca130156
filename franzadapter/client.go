package franzadapter

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/internal/onceper"
)

const (
	// requestTimeout bounds requests that a broker answers at once.
	requestTimeout = 10 * time.Second

	// topicWatchInterval is how often the consumer looks for new or recreated topics, and for new
	// partitions; firstTopicWatch is when it does so first.
	topicWatchInterval = 5 * time.Second
	firstTopicWatch    = time.Second

	// metadataMinAge is how soon franz-go may ask again where partitions are.
	metadataMinAge = 250 * time.Millisecond
)

// refused are options that would change what a consumer promises and cannot be undone by another.
var refused = map[string]any{
	"TransactionalID": kgo.TransactionalID, "ShareGroup": kgo.ShareGroup, "ConsumeRegex": kgo.ConsumeRegex,
	"InstanceID": kgo.InstanceID, "ServerSideBalancer": kgo.ServerSideBalancer, "BlockRebalanceOnPoll": kgo.BlockRebalanceOnPoll,
	"AutoCommitMarks": kgo.AutoCommitMarks, "GreedyAutoCommit": kgo.GreedyAutoCommit,
}

// checkOptions refuses what does not go with this package. A client without topics does no I/O.
func (c Config) checkOptions() error {
	if len(c.Options) == 0 {
		return nil
	}
	options := append(slices.Clip(c.Options),
		kgo.SeedBrokers(c.Brokers...), kgo.ConsumeTopics(), kgo.ConsumePartitions(nil), kgo.ConsumerGroup(""))
	client, err := kgo.NewClient(options...)
	if err != nil {
		return fmt.Errorf("%w: Options: %w", consume.ErrInvalidConfig, err)
	}
	defer client.Close()
	for name, option := range refused {
		if value := client.OptValue(option); value != "" && value != false {
			return fmt.Errorf("%w: Options has kgo.%s, which does not go with this package; leave it out, or use the field of Config", consume.ErrInvalidConfig, name)
		}
	}

	return nil
}

// options are what the client of a member is made with.
func (c Config) options(ctx context.Context, m *member, log *slog.Logger) []kgo.Opt {
	options := append(slices.Clip(c.Options),
		kgo.SeedBrokers(c.Brokers...), kgo.ClientID(c.ClientID), kgo.WithContext(ctx), kgo.WithLogger(&clientLog{log: log}), kgo.WithHooks(m),
		kgo.MetadataMaxAge(topicWatchInterval), kgo.MetadataMinAge(metadataMinAge),
		kgo.MaxDecompressBatchBytes(int(min(c.MaxBufferedBytes, math.MaxInt32))),

		kgo.ConsumerGroup(c.Group), kgo.Balancers(c.Balancers...),
		kgo.SessionTimeout(c.SessionTimeout), kgo.HeartbeatInterval(c.HeartbeatInterval), kgo.RebalanceTimeout(c.RebalanceTimeout),
		kgo.OnPartitionsAssigned(m.assigned), kgo.OnPartitionsRevoked(m.revoked), kgo.OnPartitionsLost(m.lost),
		kgo.ConsumeTopics(), kgo.ConsumePartitions(nil), // Topics are added once all are there.

		// franz-go neither fetches nor commits nor resets.
		kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.AdjustFetchOffsetsFn(fetchNothing),

		// Copies of dead letters. Producing them idempotently would need one more right.
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.DisableIdempotentWrite(),
		kgo.RecordDeliveryTimeout(requestTimeout), kgo.ProducerLinger(0),
	)
	if c.TLS != nil {
		options = append(options, kgo.DialTLSConfig(c.TLS))
	}
	if c.SASL != nil {
		options = append(options, kgo.SASL(c.SASL))
	}
	if c.InstanceID != "" {
		options = append(options, kgo.InstanceID(c.InstanceID))
	}
	if c.ServerSideBalancer {
		options = append(options, kgo.ServerSideBalancer())
	}

	return options
}

// fetchNothing leaves all partitions to this package.
func fetchNothing(context.Context, map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	return nil, nil //nolint:nilnil // No partitions.
}

// clientLog passes on what franz-go complains about: each message once a minute.
type clientLog struct {
	log  *slog.Logger
	told sync.Map // of *onceper.Limit, by message: they are constants
}

// Level implements kgo.Logger.
func (*clientLog) Level() kgo.LogLevel { return kgo.LogLevelWarn }

// Log implements kgo.Logger.
func (l *clientLog) Log(_ kgo.LogLevel, message string, details ...any) {
	limit, _ := l.told.LoadOrStore(message, new(onceper.Limit))
	if limit.(*onceper.Limit).Due(time.Minute) { //nolint:forcetypeassert // Nothing else is stored.
		l.log.Warn("franzadapter: Kafka client: "+message, details...)
	}
}

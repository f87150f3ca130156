package franzadapter

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"regexp"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/internal/settings"
)

// Config is where the records come from. Brokers, Group and Topics (or TopicPattern) are required.
type Config struct {
	// Brokers are addresses of the cluster: host:port, one or more.
	Brokers []string

	// ClientID names the client in the broker's logs, metrics and quotas. Default: Group.
	ClientID string

	// TLS encrypts the connections. Default: no encryption.
	TLS *tls.Config

	// SASL authenticates them. Default: no authentication.
	SASL sasl.Mechanism

	// Group is the consumer group. Its members share the partitions. A consumer name of package
	// idem belongs to one group (of one cluster): two groups would take the checkpoints from
	// each other.
	Group string

	// InstanceID makes this a static member of the group (KIP-345), under that name: letters, digits, dots,
	// underscores and hyphens, unique in the group. A static member does not leave the group when it stops,
	// and keeps its partitions if it is started again with the same name within SessionTimeout. If a second
	// process has the same name, Run ends with an error. Default: a dynamic member, which leaves.
	InstanceID string

	// Balancers are the ways to assign partitions that this member offers, the preferred one first. All
	// members of a group must have one in common. Do not change a group from eager to cooperative
	// balancers in one step (KIP-429). Default: kgo.CooperativeStickyBalancer, or kgo.StickyBalancer
	// with ServerSideBalancer.
	Balancers []kgo.GroupBalancer

	// ServerSideBalancer lets the broker assign the partitions (KIP-848). Use it with Kafka 4.3 or
	// later: earlier brokers refuse commits that are sent during a change of the group, which are then
	// repeated (KIP-1251). Run ends with an error if the broker does not support it. The broker then
	// decides SessionTimeout and HeartbeatInterval.
	ServerSideBalancer bool

	// Topics are the topics that the group consumes. All its members should name the same topics.
	Topics []string

	// TopicPattern consumes, in place of Topics, all topics whose name it matches anywhere (use
	// ^ and $), but none of Kafka's own. New ones are found within seconds.
	TopicPattern *regexp.Regexp

	// TopicGrace is how long a topic may be missing before Run ends with consume.ErrUnknownTopic.
	// Default 30 s.
	TopicGrace time.Duration

	// SessionTimeout is how long the broker waits for a heartbeat of a member before it gives the
	// member's partitions to others. The broker refuses values below its
	// group.min.session.timeout.ms (6 s). Default 10 s. Heartbeats go on while a member waits for
	// its handlers after a revocation.
	SessionTimeout time.Duration

	// HeartbeatInterval is the time between heartbeats, and so how soon a member learns of a
	// rebalance. Default a tenth of SessionTimeout.
	HeartbeatInterval time.Duration

	// RebalanceTimeout is how long a rebalance waits for members that are busy. consume.Config's
	// DrainTimeout must be less; by default that is half of SessionTimeout. Default 30 s.
	RebalanceTimeout time.Duration

	// MaxWait is how long a broker waits with its answer to a fetch if there are no records. A
	// record that arrives meanwhile is sent at once. Default 500 ms.
	MaxWait time.Duration

	// MaxBytes is how much is fetched of a partition at once, before decompression, but never
	// less than one batch of the producer. Each assigned partition holds up to three times as
	// much. Default 1 MiB.
	MaxBytes int

	// MaxBufferedBytes bounds what the fetched records of this consumer's partitions take up
	// together, decompressed. While the bound is reached nothing more is fetched; once half of it is
	// taken, nothing is fetched ahead of what is processed. One answer can exceed the bound by what
	// it decompresses to, 32 MiB or one batch of at most MaxBufferedBytes. Default 256 MiB.
	MaxBufferedBytes int64

	// Options are more options of franz-go: a dialer, hooks, a rack, retries. This package overrides the
	// options that it sets itself: all that Config has a field for, callbacks of the group, offsets,
	// isolation, and how dead letters are produced. TransactionalID, ShareGroup, ConsumeRegex,
	// InstanceID, ServerSideBalancer, BlockRebalanceOnPoll, AutoCommitMarks and GreedyAutoCommit are
	// refused.
	Options []kgo.Opt
}

func (c Config) withDefaults() Config {
	c.ClientID = cmp.Or(c.ClientID, c.Group)
	if len(c.Balancers) == 0 {
		c.Balancers = []kgo.GroupBalancer{kgo.CooperativeStickyBalancer()}
		if c.ServerSideBalancer {
			c.Balancers = []kgo.GroupBalancer{kgo.StickyBalancer()}
		}
	}
	c.TopicGrace = cmp.Or(c.TopicGrace, 30*time.Second)
	c.SessionTimeout = cmp.Or(c.SessionTimeout, 10*time.Second)
	c.HeartbeatInterval = cmp.Or(c.HeartbeatInterval, c.SessionTimeout/10)
	c.RebalanceTimeout = cmp.Or(c.RebalanceTimeout, 30*time.Second)
	c.MaxWait = cmp.Or(c.MaxWait, 500*time.Millisecond)
	c.MaxBytes = cmp.Or(c.MaxBytes, 1<<20)
	c.MaxBufferedBytes = cmp.Or(c.MaxBufferedBytes, 256<<20)

	return c
}

// minBuffered is the least budget: a batch of Kafka's default max.message.bytes must fit.
const minBuffered = 1 << 20

func (c Config) validate() error {
	if c.MaxBufferedBytes < minBuffered {
		return fmt.Errorf("%w: MaxBufferedBytes is %d; use at least %d", consume.ErrInvalidConfig, c.MaxBufferedBytes, minBuffered)
	}
	if err := c.settings().Validate(); err != nil {
		return err
	}

	return c.checkOptions()
}

// settings is what all adapters have in common.
func (c Config) settings() settings.Source {
	return settings.Source{
		Brokers: c.Brokers, Group: c.Group, Topics: c.Topics, TopicPattern: c.TopicPattern, MaxBytes: c.MaxBytes, InstanceID: c.InstanceID,
		TopicGrace: c.TopicGrace, SessionTimeout: c.SessionTimeout, HeartbeatInterval: c.HeartbeatInterval,
		RebalanceTimeout: c.RebalanceTimeout, MaxWait: c.MaxWait,
	}
}

// complete returns what is done with the records, with the bounds that the group sets.
func (c Config) complete(config consume.Config) (consume.Config, error) {
	config.DrainTimeout = cmp.Or(config.DrainTimeout, min(c.SessionTimeout, c.RebalanceTimeout)/2)
	if config.DrainTimeout >= c.RebalanceTimeout {
		return consume.Config{}, fmt.Errorf("%w: DrainTimeout %v is not less than RebalanceTimeout %v",
			consume.ErrInvalidConfig, config.DrainTimeout, c.RebalanceTimeout)
	}

	return config.Complete(c.settings().SeveralTopics())
}

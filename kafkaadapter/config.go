package kafkaadapter

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"regexp"
	"time"

	"github.com/segmentio/kafka-go/sasl"

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

	// InstanceID makes this a static member of the group (KIP-345), under that name: letters, digits,
	// dots, underscores and hyphens, unique in the group. A static member does not leave the group when
	// Run ends. If it runs again within SessionTimeout, as in a rolling restart, it gets the same
	// partitions and no other member is interrupted. Until then nobody else gets its partitions. If a
	// second process has the same name, Run ends with an error. Default: a dynamic member, which leaves.
	InstanceID string

	// Topics are the topics that the group consumes. All its members should name the same topics.
	Topics []string

	// TopicPattern consumes, in place of Topics, all topics whose name it matches anywhere (use
	// ^ and $), but none of Kafka's own. New ones are found within seconds.
	TopicPattern *regexp.Regexp

	// TopicGrace is how long a topic may be missing before Run ends with consume.ErrUnknownTopic.
	// Default 30 s.
	TopicGrace time.Duration

	// SessionTimeout is how long the broker waits for a heartbeat of a member before it gives the
	// member's partitions to others. With a short timeout others take over quickly from members
	// that were killed. The broker refuses values below its group.min.session.timeout.ms (6 s).
	// Default 10 s.
	//
	// After a revocation a member waits for its handlers, and the group waits for the member. So
	// consume.Config's DrainTimeout must be less than SessionTimeout and RebalanceTimeout. By
	// default it is half of the shorter one.
	SessionTimeout time.Duration

	// HeartbeatInterval is the time between heartbeats, and so how soon a member learns of a
	// rebalance. Default a tenth of SessionTimeout.
	HeartbeatInterval time.Duration

	// RebalanceTimeout is how long a rebalance waits for members that are busy. Default 30 s.
	RebalanceTimeout time.Duration

	// MaxWait is how long a broker waits with its answer to a fetch if there are no records. A
	// record that arrives meanwhile is sent at once. Default 500 ms.
	MaxWait time.Duration

	// MaxBytes is how much is fetched of a partition at once, before decompression, but never less
	// than one batch of the producer. Each assigned partition holds up to three times as much: one
	// fetch that is processed, one that waits, one under way. Decompressed, each can become 32 MiB,
	// or one batch of the size that Memory allows. Default 1 MiB, and at most a quarter of Memory.
	MaxBytes int

	// Memory bounds what the fetched records of all partitions take up together. Consumers of one
	// process can share it. Default DefaultMemory.
	Memory *Memory
}

func (c Config) withDefaults() Config {
	c.ClientID = cmp.Or(c.ClientID, c.Group)
	c.TopicGrace = cmp.Or(c.TopicGrace, 30*time.Second)
	c.SessionTimeout = cmp.Or(c.SessionTimeout, 10*time.Second)
	c.HeartbeatInterval = cmp.Or(c.HeartbeatInterval, c.SessionTimeout/10)
	c.RebalanceTimeout = cmp.Or(c.RebalanceTimeout, 30*time.Second)
	c.MaxWait = cmp.Or(c.MaxWait, 500*time.Millisecond)
	c.MaxBytes = cmp.Or(c.MaxBytes, 1<<20)
	c.Memory = cmp.Or(c.Memory, DefaultMemory)

	return c
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
	if config.DrainTimeout >= min(c.SessionTimeout, c.RebalanceTimeout) {
		return consume.Config{}, fmt.Errorf("%w: DrainTimeout %v is not less than SessionTimeout %v and RebalanceTimeout %v",
			consume.ErrInvalidConfig, config.DrainTimeout, c.SessionTimeout, c.RebalanceTimeout)
	}

	return config.Complete(c.settings().SeveralTopics())
}

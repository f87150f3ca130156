package ops

import (
	"context"
	"time"
)

// Kafka looks at a cluster for Diagnose, with whatever client the caller has: this package knows none. It is asked
// about the groups and topics of those names, and about the topics for which the groups have committed offsets.
// Offsets of groups must be read before the ends of logs. An error means that the cluster could not be asked at
// all. Package cmd/idemctl has one.
type Kafka func(ctx context.Context, groups, topics []string) (KafkaFacts, error)

// KafkaFacts is what Diagnose wants to know of a cluster.
type KafkaFacts struct {
	ClusterID string

	// OffsetsRetention is the brokers' offsets.retention.minutes. Zero: not known.
	OffsetsRetention time.Duration

	Groups map[string]GroupFacts
	Topics map[string]TopicFacts
}

// GroupFacts is what a cluster knows of a consumer group.
type GroupFacts struct {
	// Err says why nothing else could be asked.
	Err error

	// State, ProtocolType and Protocol are Kafka's words: "Stable", "consumer", "range". A group that there is not is
	// "Dead".
	State, ProtocolType, Protocol string

	Members int

	// MembersHidden says why the members are not known. Empty: they are.
	MembersHidden string

	// Offsets are those that the group has committed, by topic and partition.
	Offsets map[string]map[int32]CommittedOffset
}

// CommittedOffset is what a group has committed for a partition.
type CommittedOffset struct {
	Next     int64
	Metadata string
}

// TopicFacts is what a cluster knows of a topic.
type TopicFacts struct {
	// Err says why nothing else could be asked.
	Err error

	// Missing is set if there is no such topic.
	Missing bool

	Partitions map[int32]PartitionFacts

	// Settings are those in force, by Kafka's names ("retention.ms"). Nil: they could not be asked.
	Settings map[string]string
}

// PartitionFacts is what a cluster knows of a partition.
type PartitionFacts struct {
	// Err says why the offsets are not known.
	Err error

	First, End int64 // of the log: its first offset, and the one after its last
	Replicas   int
}

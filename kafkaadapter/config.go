package kafkaadapter

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"math"
	"regexp"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"

	"github.com/nova-events/idempotent-consumer/internal/boundedlog"
)

// Config describes a Consumer. Brokers, Group, Topics (or TopicPattern)
// and Handle (or HandleBatch) are required.
type Config struct {
	// Brokers are where the cluster is found: host:port, one or more.
	Brokers []string

	// Group is the consumer group. Its members share the partitions. A consumer name of package
	// idem belongs to one group (of one cluster): two groups would take the checkpoints from
	// each other.
	Group string

	// Topics are what the group consumes. All its members should name the same.
	Topics []string

	// TopicPattern consumes, in place of Topics, all topics whose name it matches anywhere (use
	// ^ and $), but none of Kafka's own. New ones are found within seconds.
	TopicPattern *regexp.Regexp

	// Handle processes a record. Give either this or HandleBatch.
	Handle Handler

	// HandleBatch processes several records of a partition in one transaction, which is many
	// times faster. It gets what has come while the batch before was processed, up to BatchSize
	// records (default 500) with keys and values of up to BatchBytes (default 4 MiB): unless
	// Linger says so, nothing waits for a batch to grow. It needs a Mode with
	// checkpoints. Context is not called.
	HandleBatch BatchHandler
	BatchSize   int
	BatchBytes  int

	// Linger makes fewer and larger batches of a trickle of records: a partition that has been
	// read to its end is not fetched again before that time has passed. Unlike a producer's
	// linger.ms it delays no record that comes after a longer pause, and no backlog; any other
	// record waits for at most Linger. Only with HandleBatch. Default 0: nothing waits.
	Linger time.Duration

	// Lanes is how many records of a partition are processed at the same time, for handlers that
	// wait for something slow. Those of one key keep their order; those without a key have none.
	// Each lane needs a connection of the guard's pool: give the pool (pool_max_conns) one for each
	// lane of each partition that this member may own, and one more. A handler that takes connections
	// of the same pool for itself needs more. New refuses a pool with fewer than Lanes.
	//
	// A record that is processed before an earlier one of the partition is known by its event id
	// alone until the earlier one is processed, as in Mode ByEventID. Not with HandleBatch, ParkKeys
	// or Mode ByCheckpoint. Default 1.
	Lanes int

	// LookAhead is how many records behind the first one that is not processed yet the lanes
	// may have begun with. Their keys and values have up to BatchBytes. Default 64 for each lane.
	LookAhead int

	// EventID tells events apart. With several Topics or a TopicPattern it must say whether an id is unique
	// across them (InTopic, AcrossTopics). Default Header(DefaultEventIDHeader).
	EventID EventID

	// StartOffset is where a group begins in a partition in which it has committed nothing:
	// kafka.FirstOffset or kafka.LastOffset. Default kafka.FirstOffset.
	StartOffset int64

	// Mode says what tells that a record is processed already. Default ByEventIDAndCheckpoint.
	Mode Mode

	// Retry says how often, and how long, the handler is tried for a record.
	Retry RetryPolicy

	// Breaker makes a partition wait in which one record after the other fails.
	Breaker BreakerPolicy

	// MaxStarts is how many owners of a partition may begin with one and the same record and
	// exit without reporting an error, before it is stored as a dead letter: it may be what kills them.
	// A batch of records that none of them has lived to decode goes the way of OnUnreadable. Default 5.
	// It counts only in a Mode with checkpoints, and for records with OnFailure StoreDeadLetter.
	MaxStarts int

	// OnFailure says what becomes of a record that has failed: its handler did so often
	// (Retry) or permanently, or it has no valid event id. Default StoreDeadLetter.
	OnFailure FailurePolicy

	// DeadLetterSuffix makes a copy of each record that fails, before it is stored, in the topic
	// of its own topic's name and this suffix, as "-dlt", in the partition of the same number.
	// The topics must exist. Headers in the ways of Spring Kafka and Kafka Connect say why. A
	// copy may be made twice. Default: none.
	DeadLetterSuffix string

	// ParkKeys keeps the order of the records of one key when one of them fails: those that
	// follow are stored behind its dead letter without being tried, and processed in their
	// order once it is replayed or discarded. It needs a Mode with checkpoints. Default false.
	ParkKeys bool

	// ReplayInterval is how often a partition looks for dead letters that are to be replayed.
	// Default 5 s.
	ReplayInterval time.Duration

	// OnOutOfRange says what happens if the log of a partition does not reach to where the
	// group has come: records have expired unread, or the topic was deleted and created again.
	// Default FailOutOfRange.
	OnOutOfRange OutOfRangePolicy

	// OnDatabaseRewind says what happens if the database has lost its latest commits, by a failover
	// to a standby without them for instance: the checkpoint then stands before what this group has
	// committed to Kafka. Default RewindToCheckpoint. Not in Mode ByEventID, which cannot know.
	OnDatabaseRewind RewindPolicy

	// OnUnreadable says what happens to a batch of records that cannot be read although the
	// broker has accepted it from a producer. All before it is processed first. Default
	// StopOnUnreadable.
	OnUnreadable UnreadablePolicy

	// OnCollision says what becomes of a record whose event id was processed before with another
	// value: an id that is not unique, or a producer's mistake. Default ReportCollision. Each claim
	// keeps a fingerprint of the value for it, 8 bytes a row.
	OnCollision CollisionPolicy

	// StoreMetadata stores with each claim where its record comes from: topic, partition,
	// offset, key, time and attempt (idem.Metadata). Default false: it about doubles the
	// size of a row.
	StoreMetadata bool

	// SessionTimeout is after how long without a heartbeat the broker gives the partitions of
	// a member to others. Short values take over quickly from members that were killed; the
	// broker refuses those below its group.min.session.timeout.ms (6 s). Default 10 s.
	SessionTimeout time.Duration

	// HeartbeatInterval is also how soon a member learns of a rebalance. Default a tenth of
	// SessionTimeout.
	HeartbeatInterval time.Duration

	// RebalanceTimeout is how long a rebalance waits for members that are busy. Default 30 s.
	RebalanceTimeout time.Duration

	// DrainTimeout is how long a handler may go on after its partition was revoked or the
	// consumer was told to stop; then its context ends and its transaction is rolled back.
	// A member sends no heartbeats during that time, so it must be less than SessionTimeout
	// and RebalanceTimeout. Default half of SessionTimeout.
	DrainTimeout time.Duration

	// CommitInterval is how often offsets are committed to Kafka. After a crash the records
	// since the last commit are delivered again, and seen to be duplicates. Default 1 s.
	CommitInterval time.Duration

	// MaxWait is how long a broker holds back its answer to a fetch if there is nothing to
	// deliver. What arrives meanwhile is answered at once. Default 500 ms.
	MaxWait time.Duration

	// MaxBytes is how much is fetched of a partition at once, before decompression, but never
	// less than one batch of the producer. Each assigned partition holds up to three times as
	// much: one fetch in progress, one waiting, one under way. Decompressed, each can become
	// 32 MiB, or one batch of what Memory allows. Default 1 MiB, and at most a quarter of Memory.
	MaxBytes int

	// Memory is what the fetched records of all partitions may take up together. Consumers of
	// one process can share it. Default DefaultMemory.
	Memory *Memory

	// TopicGrace is how long a topic may be missing before Run ends with ErrUnknownTopic.
	// Default 30 s.
	TopicGrace time.Duration

	// ClientID names the client in the broker's logs, metrics and quotas. Default: Group.
	ClientID string

	// TLS encrypts the connections. Default: no encryption.
	TLS *tls.Config

	// SASL authenticates them. Default: no authentication.
	SASL sasl.Mechanism

	// Context returns the context of a record's handler, made of ctx, to carry what the record's
	// headers say: with OpenTelemetry
	// otel.GetTextMapPropagator().Extract(ctx, kafkaadapter.HeaderCarrier(m.Headers)).
	// Default: ctx itself.
	Context func(ctx context.Context, record kafka.Message) context.Context

	// Observe is called at every Event, for metrics. It must be quick and safe for concurrent
	// use. Default: nobody is told.
	Observe func(Event)

	// LetPanic lets a panic end the process, as Go does by default. Without it, a panic of the handler
	// or of Context is a failed attempt (*PanicError), one of EventID fails the record, and one
	// of Observe is only logged.
	LetPanic bool

	// Logger is told about rebalances (info), what goes wrong and is tried again (warn), and what
	// somebody has to look at, such as dead letters (error). Values are cut at 8 KiB. Default: silence.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.EventID == nil {
		c.EventID = Header(DefaultEventIDHeader)
	}
	c.StartOffset = cmp.Or(c.StartOffset, kafka.FirstOffset)
	c.Retry, c.Breaker = c.Retry.withDefaults(), c.Breaker.withDefaults()
	c.MaxStarts = cmp.Or(c.MaxStarts, 5)
	c.BatchSize = cmp.Or(c.BatchSize, 500)
	c.BatchBytes = cmp.Or(c.BatchBytes, 4<<20)
	c.Lanes = cmp.Or(c.Lanes, 1)
	c.LookAhead = cmp.Or(c.LookAhead, 64*c.Lanes)
	c.ReplayInterval = cmp.Or(c.ReplayInterval, 5*time.Second)
	if c.Observe == nil {
		c.Observe = func(Event) {}
	}
	if c.Context == nil {
		c.Context = func(ctx context.Context, _ kafka.Message) context.Context { return ctx }
	}
	c.SessionTimeout = cmp.Or(c.SessionTimeout, 10*time.Second)
	c.HeartbeatInterval = cmp.Or(c.HeartbeatInterval, c.SessionTimeout/10)
	c.RebalanceTimeout = cmp.Or(c.RebalanceTimeout, 30*time.Second)
	c.DrainTimeout = cmp.Or(c.DrainTimeout, c.SessionTimeout/2)
	c.CommitInterval = cmp.Or(c.CommitInterval, time.Second)
	c.MaxWait = cmp.Or(c.MaxWait, 500*time.Millisecond)
	c.MaxBytes = cmp.Or(c.MaxBytes, 1<<20)
	c.Memory = cmp.Or(c.Memory, DefaultMemory)
	c.TopicGrace = cmp.Or(c.TopicGrace, 30*time.Second)
	c.ClientID = cmp.Or(c.ClientID, c.Group)
	c.Logger = boundedlog.New(c.Logger)

	return c
}

func (c Config) validate() error {
	switch {
	case len(c.Brokers) == 0 || slices.Contains(c.Brokers, ""):
		return fmt.Errorf("%w: Brokers is empty or has an empty address; give host:port", ErrInvalidConfig)
	case c.Group == "":
		return fmt.Errorf("%w: Group is empty", ErrInvalidConfig)
	case (len(c.Topics) == 0) == (c.TopicPattern == nil) || slices.Contains(c.Topics, ""):
		return fmt.Errorf("%w: give either Topics, without empty names, or a TopicPattern", ErrInvalidConfig)
	case len(slices.Compact(slices.Sorted(slices.Values(c.Topics)))) != len(c.Topics):
		return fmt.Errorf("%w: Topics names a topic twice", ErrInvalidConfig)
	case (c.Handle == nil) == (c.HandleBatch == nil):
		return fmt.Errorf("%w: give either Handle or HandleBatch", ErrInvalidConfig)
	case c.HandleBatch != nil && c.Mode == ByEventID:
		return fmt.Errorf("%w: HandleBatch needs a Mode with checkpoints", ErrInvalidConfig)
	case c.BatchSize < 0 || c.BatchBytes < 0:
		return fmt.Errorf("%w: BatchSize or BatchBytes is negative", ErrInvalidConfig)
	case c.Linger < 0 || (c.Linger > 0 && c.HandleBatch == nil):
		return fmt.Errorf("%w: Linger is %v; give HandleBatch a Linger that is not negative, Handle none", ErrInvalidConfig, c.Linger)
	case c.Lanes < 1 || c.LookAhead < 1:
		return fmt.Errorf("%w: Lanes or LookAhead is negative", ErrInvalidConfig)
	case c.Lanes > 1 && (c.HandleBatch != nil || c.ParkKeys || c.Mode == ByCheckpoint):
		return fmt.Errorf("%w: Lanes does not go with HandleBatch, ParkKeys or Mode ByCheckpoint", ErrInvalidConfig)
	case c.StartOffset != kafka.FirstOffset && c.StartOffset != kafka.LastOffset:
		return fmt.Errorf("%w: StartOffset is %d; use kafka.FirstOffset or kafka.LastOffset", ErrInvalidConfig, c.StartOffset)
	case (len(c.Topics) > 1 || c.TopicPattern != nil) && c.Mode != ByCheckpoint && !isSettled(c.EventID):
		return fmt.Errorf("%w: with several topics it must be known what EventID's ids are unique in; wrap it in InTopic (each topic has ids of its own) or in AcrossTopics (an id is the same event in all of them)", ErrInvalidConfig)
	case c.MaxStarts < 0:
		return fmt.Errorf("%w: MaxStarts is negative (%d)", ErrInvalidConfig, c.MaxStarts)
	case c.Mode > ByCheckpoint || c.OnFailure > StopOnFailure || c.OnOutOfRange > SkipToLatest || c.OnDatabaseRewind > FailOnRewind || c.OnUnreadable > SkipUnreadable || c.OnCollision > IgnoreCollision:
		return fmt.Errorf("%w: Mode, OnFailure, OnOutOfRange, OnDatabaseRewind, OnUnreadable or OnCollision is none of the constants", ErrInvalidConfig)
	case c.DeadLetterSuffix != "" && c.OnFailure != StoreDeadLetter:
		return fmt.Errorf("%w: DeadLetterSuffix needs OnFailure StoreDeadLetter", ErrInvalidConfig)
	case c.ParkKeys && (c.Mode == ByEventID || c.OnFailure != StoreDeadLetter):
		return fmt.Errorf("%w: ParkKeys needs a Mode with checkpoints and OnFailure StoreDeadLetter", ErrInvalidConfig)
	case c.MaxBytes < 0 || c.MaxBytes > math.MaxInt32:
		return fmt.Errorf("%w: MaxBytes is %d; use 1 to %d", ErrInvalidConfig, c.MaxBytes, math.MaxInt32)
	case c.HeartbeatInterval >= c.SessionTimeout:
		return fmt.Errorf("%w: HeartbeatInterval %v is not less than SessionTimeout %v", ErrInvalidConfig, c.HeartbeatInterval, c.SessionTimeout)
	case c.DrainTimeout >= min(c.SessionTimeout, c.RebalanceTimeout):
		return fmt.Errorf("%w: DrainTimeout %v is not less than SessionTimeout %v and RebalanceTimeout %v",
			ErrInvalidConfig, c.DrainTimeout, c.SessionTimeout, c.RebalanceTimeout)
	}

	for _, policy := range []interface{ validate() error }{c.Retry, c.Breaker} {
		if err := policy.validate(); err != nil {
			return err
		}
	}

	return c.validateDurations()
}

// validateDurations keeps to what Kafka's protocol can express: milliseconds in 32 bits.
func (c Config) validateDurations() error {
	for name, d := range map[string]time.Duration{
		"SessionTimeout": c.SessionTimeout, "HeartbeatInterval": c.HeartbeatInterval,
		"RebalanceTimeout": c.RebalanceTimeout, "DrainTimeout": c.DrainTimeout,
		"CommitInterval": c.CommitInterval, "ReplayInterval": c.ReplayInterval, "MaxWait": c.MaxWait, "TopicGrace": c.TopicGrace,
	} {
		if d < time.Millisecond || d.Milliseconds() > math.MaxInt32 {
			return fmt.Errorf("%w: %s is %v; use 1 ms to 24 days", ErrInvalidConfig, name, d)
		}
	}

	return nil
}

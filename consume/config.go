package consume

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/boundedlog"
)

// Config says what a consumer does with the records. A handler is required, everything
// else has a default.
type Config struct {
	// Handle processes a record. Give one of Handle, HandleQueue and HandleBatch.
	//
	// In a Mode with checkpoints and without Lanes, records that have come together share a transaction:
	// one claim, one checkpoint and one COMMIT for as many as are processed within about 20 ms, and
	// within the limits of Batch. A record that fails is rolled back with those before it, which then
	// run again without it, and stands alone. So a handler finds in its transaction what earlier records
	// of the partition have done, and what they have set for it (SET LOCAL, temporary tables). A record
	// that comes alone is committed at once.
	Handle Handler

	// OwnTransactions has Handle process each record in a transaction of its own.
	OwnTransactions bool

	// HandleQueue queues the statements that a record needs, for handlers that only write. Those of all
	// records that have come, within the limits of Batch, travel together: several times faster than
	// Handle. It needs a Mode with checkpoints.
	HandleQueue QueueHandler

	// HandleBatch processes several records of a partition in one transaction, which is many
	// times faster. It gets what has come while the batch before was processed, within the limits of
	// Batch. It needs a Mode with checkpoints.
	HandleBatch BatchHandler

	// Batch bounds how many records share a transaction.
	Batch BatchConfig

	// Lanes process several records of a partition at the same time.
	Lanes LanesConfig

	// EventID tells events apart. With several topics it must say whether an id is unique across them
	// (InTopic, AcrossTopics). Default Header(DefaultEventIDHeader).
	EventID EventID

	// Mode says what tells that a record is processed already. Default ByEventIDAndCheckpoint.
	Mode Mode

	// Start is where a group begins in a partition in which it has committed nothing. A partition that
	// is added later begins at its beginning. Default FromEarliest.
	Start Start

	// Failure says what happens to records that cannot be processed.
	Failure FailureConfig

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

	// HandlerTimeout is how long an attempt of the handler may take: then its context ends, and if it
	// returns an error that is a failed attempt (ErrHandlerTimeout). A handler must heed its context: one that
	// does not return holds its partition, and after a minute the log says so. With HandleBatch it is for the
	// whole batch. Default 0: no limit.
	HandlerTimeout time.Duration

	// CommitInterval is how often offsets are committed to Kafka. After a crash the records
	// since the last commit are delivered again, and seen to be duplicates. Default 1 s.
	CommitInterval time.Duration

	// DrainTimeout is how long a handler may go on after its partition was revoked or the
	// consumer was told to stop; then its context ends and its transaction is rolled back. The default
	// and the bounds are the adapter's.
	DrainTimeout time.Duration

	// Hooks watch what the consumer does, for traces and metrics. Default: none.
	Hooks Hooks

	// LetPanic lets a panic end the process, as Go does by default. Without it, a panic of the handler
	// is a failed attempt (*PanicError), one of EventID fails the record, and one of Hooks is only
	// logged.
	LetPanic bool

	// Logger is told about rebalances (info), what goes wrong and is tried again (warn), and what
	// somebody has to look at, such as dead letters (error). Values are cut at 8 KiB. Default: silence.
	Logger *slog.Logger
}

// BatchConfig bounds how many records share a transaction.
type BatchConfig struct {
	// Size is how many records share a transaction at most. Default 500.
	Size int

	// Bytes is how many bytes their keys and values have at most, or of a single record that
	// has more; with Lanes, those of the records in flight. Default 4 MiB.
	Bytes int

	// Linger makes fewer and larger batches of a trickle of records: a partition that has been
	// read to its end is not fetched again before that time has passed. Unlike a producer's
	// linger.ms it delays no record that comes after a longer pause, and no backlog; any other
	// record waits for at most Linger. Not with Lanes or Mode ByEventID. Default 0: nothing waits.
	Linger time.Duration
}

// LanesConfig is about processing several records of a partition at the same time, for handlers that
// wait for something slow. Those of one key keep their order; those without a key have none.
//
// Each lane needs a connection of the guard's pool: give the pool (pool_max_conns) one for each
// lane of each partition that this member may own, and one more. A handler that takes connections
// of the same pool for itself needs more. New refuses a pool with fewer than Count.
//
// A record that is processed before an earlier one of the partition is known by its event id
// alone until the earlier one is processed, as in Mode ByEventID. Lanes do not go with HandleQueue, HandleBatch,
// Failure.ParkKeys or Mode ByCheckpoint.
type LanesConfig struct {
	// Count is how many records of a partition are processed at the same time. Default 1.
	Count int

	// LookAhead is how many records behind the first one that is not processed yet the lanes
	// may have begun with. Default 64 for each lane.
	LookAhead int
}

// FailureConfig is about records that cannot be processed.
type FailureConfig struct {
	// Policy says what becomes of a record that has failed: its handler did so often
	// (Retry) or permanently, or it has no valid event id. Default StoreDeadLetter.
	Policy FailurePolicy

	// Retry says how often, and how long, the handler is tried for a record.
	Retry RetryPolicy

	// Breaker makes a partition wait in which one record after the other fails.
	Breaker BreakerPolicy

	// MaxStarts is how many owners of a partition may begin with one and the same record and
	// exit without reporting an error, before it is stored as a dead letter: it may be what kills them.
	// A batch of records that none of them has lived to decode goes the way of OnUnreadable. Default 5.
	// It counts only in a Mode with checkpoints, and for records with the Policy StoreDeadLetter.
	MaxStarts int

	// DeadLetterSuffix makes a copy of each record that fails, before it is stored, in the topic
	// of its own topic's name and this suffix, as "-dlt", in the partition of the same number.
	// The topics must exist. Headers in the ways of Spring Kafka and Kafka Connect say why. A
	// copy may be made twice. Default: none.
	DeadLetterSuffix string

	// ParkKeys keeps the order of the records of one key when one of them fails: those that
	// follow are stored behind its dead letter without being tried, and processed in their
	// order once it is replayed or discarded. It needs a Mode with checkpoints. Default false.
	ParkKeys bool

	// ReplayInterval is how often the consumer looks for dead letters that are to be replayed, and for
	// commits that the database has lost in partitions to which no records come: two statements for all
	// its partitions. Default 5 s.
	ReplayInterval time.Duration
}

// Complete returns c with its defaults, or an error that wraps ErrInvalidConfig and says what makes no
// sense. Adapters call it. severalTopics says that events may come from more than one topic.
func (c Config) Complete(severalTopics bool) (Config, error) {
	c = c.withDefaults()
	if err := c.validate(severalTopics); err != nil {
		return Config{}, err
	}
	switch batch, queue := c.HandleBatch, c.HandleQueue; {
	case batch != nil:
		c.Handle = func(ctx context.Context, tx pgx.Tx, m Message) error { return batch(ctx, tx, []Message{m}) }
	case queue != nil:
		c.Handle = func(ctx context.Context, tx pgx.Tx, m Message) error {
			var statements pgx.Batch
			if err := queue(ctx, &statements, m); err != nil || statements.Len() == 0 {
				return err
			}

			return tx.SendBatch(ctx, &statements).Close()
		}
	}
	c.Hooks = c.Hooks.safely(c)

	return c, nil
}

func (c Config) withDefaults() Config {
	if c.EventID == nil {
		c.EventID = Header(DefaultEventIDHeader)
	}
	c.Batch.Size = cmp.Or(c.Batch.Size, 500)
	c.Batch.Bytes = cmp.Or(c.Batch.Bytes, 4<<20)
	c.Lanes.Count = cmp.Or(c.Lanes.Count, 1)
	c.Lanes.LookAhead = cmp.Or(c.Lanes.LookAhead, 64*c.Lanes.Count)
	c.Failure.Retry, c.Failure.Breaker = c.Failure.Retry.withDefaults(), c.Failure.Breaker.withDefaults()
	c.Failure.MaxStarts = cmp.Or(c.Failure.MaxStarts, 5)
	c.Failure.ReplayInterval = cmp.Or(c.Failure.ReplayInterval, 5*time.Second)
	c.CommitInterval = cmp.Or(c.CommitInterval, time.Second)
	c.Logger = boundedlog.New(c.Logger)

	return c
}

func (c Config) validate(severalTopics bool) error {
	switch {
	case c.forms() != 1:
		return fmt.Errorf("%w: give one of Handle, HandleQueue and HandleBatch", ErrInvalidConfig)
	case c.Handle == nil && c.Mode == ByEventID:
		return fmt.Errorf("%w: HandleQueue and HandleBatch need a Mode with checkpoints", ErrInvalidConfig)
	case c.Handle == nil && c.OwnTransactions:
		return fmt.Errorf("%w: OwnTransactions goes with Handle only", ErrInvalidConfig)
	case c.HandlerTimeout < 0:
		return fmt.Errorf("%w: HandlerTimeout is negative (%v)", ErrInvalidConfig, c.HandlerTimeout)
	case c.Batch.Size < 0 || c.Batch.Bytes < 0:
		return fmt.Errorf("%w: Batch.Size or Batch.Bytes is negative", ErrInvalidConfig)
	case c.Batch.Linger < 0 || c.Batch.Linger > 0 && (c.OwnTransactions || c.Lanes.Count > 1 || c.Mode == ByEventID):
		return fmt.Errorf("%w: Batch.Linger is %v; give none that is negative, and none where each record has its own transaction (OwnTransactions, Lanes, Mode ByEventID)", ErrInvalidConfig, c.Batch.Linger)
	case c.Lanes.Count < 1 || c.Lanes.LookAhead < 1:
		return fmt.Errorf("%w: Lanes.Count or Lanes.LookAhead is negative", ErrInvalidConfig)
	case c.Lanes.Count > 1 && (c.Handle == nil || c.Failure.ParkKeys || c.Mode == ByCheckpoint):
		return fmt.Errorf("%w: Lanes do not go with HandleQueue, HandleBatch, Failure.ParkKeys or Mode ByCheckpoint", ErrInvalidConfig)
	case severalTopics && c.Mode != ByCheckpoint && !isSettled(c.EventID):
		return fmt.Errorf("%w: with several topics it must be known what EventID's ids are unique in; wrap it in InTopic (each topic has ids of its own) or in AcrossTopics (an id is the same event in all of them)", ErrInvalidConfig)
	case c.Mode > ByCheckpoint || c.Start > FromLatest || c.Failure.Policy > StopOnFailure || c.OnOutOfRange > SkipToLatest || c.OnDatabaseRewind > FailOnRewind || c.OnUnreadable > SkipUnreadable || c.OnCollision > IgnoreCollision:
		return fmt.Errorf("%w: Mode, Start, Failure.Policy, OnOutOfRange, OnDatabaseRewind, OnUnreadable or OnCollision is none of the constants", ErrInvalidConfig)
	}
	if err := c.Failure.validate(c.Mode); err != nil {
		return err
	}

	return CheckDurations(map[string]time.Duration{
		"CommitInterval": c.CommitInterval, "Failure.ReplayInterval": c.Failure.ReplayInterval, "DrainTimeout": c.DrainTimeout,
	})
}

// forms is how many handlers there are.
func (c Config) forms() (n int) {
	for _, given := range []bool{c.Handle != nil, c.HandleQueue != nil, c.HandleBatch != nil} {
		if given {
			n++
		}
	}

	return n
}

func (f FailureConfig) validate(mode Mode) error {
	switch {
	case f.MaxStarts < 0:
		return fmt.Errorf("%w: Failure.MaxStarts is negative (%d)", ErrInvalidConfig, f.MaxStarts)
	case f.DeadLetterSuffix != "" && f.Policy != StoreDeadLetter:
		return fmt.Errorf("%w: Failure.DeadLetterSuffix needs the Policy StoreDeadLetter", ErrInvalidConfig)
	case f.ParkKeys && (mode == ByEventID || f.Policy != StoreDeadLetter):
		return fmt.Errorf("%w: Failure.ParkKeys needs a Mode with checkpoints and the Policy StoreDeadLetter", ErrInvalidConfig)
	}
	if err := f.Retry.validate(); err != nil {
		return err
	}

	return f.Breaker.validate()
}

// CheckDurations keeps to what Kafka's protocol can express: milliseconds in 32 bits. Adapters call it
// with theirs, by the names of their fields.
func CheckDurations(durations map[string]time.Duration) error {
	for name, d := range durations {
		if d < time.Millisecond || d.Milliseconds() > math.MaxInt32 {
			return fmt.Errorf("%w: %s is %v; use 1 ms to 24 days", ErrInvalidConfig, name, d)
		}
	}

	return nil
}

// CheckPool refuses a pool that is too small for one partition. Adapters call it.
func (c Config) CheckPool(guard *idem.Guard) error {
	if size := guard.Pool().Stat().MaxConns(); int(size) < c.Lanes.Count {
		return fmt.Errorf("%w: the guard's pool has %d connections (pool_max_conns), which is too few for %d lanes, even of one partition",
			ErrInvalidConfig, size, c.Lanes.Count)
	}

	return nil
}

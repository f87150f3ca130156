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
	// In a Mode with checkpoints and without Lanes, records that have arrived together share a
	// transaction: one claim, one checkpoint and one COMMIT for as many as are processed within about 20
	// ms, and within the limits of Batch. If a record fails, the transaction is rolled back, the records
	// before it run again without it, and the failed record is processed alone. So a handler sees in its
	// transaction what earlier records of the partition have done, and what they have set for the
	// transaction (SET LOCAL, temporary tables). A record that comes alone is committed at once.
	Handle Handler

	// OwnTransactions has Handle process each record in a transaction of its own.
	OwnTransactions bool

	// HandleQueue queues the statements that a record needs, for handlers that only write. The
	// statements of all records that have arrived, within the limits of Batch, travel together: several
	// times faster than Handle. It needs a Mode with checkpoints.
	HandleQueue QueueHandler

	// HandleBatch processes several records of a partition in one transaction, which is many times
	// faster. It gets the records that have arrived while the batch before was processed, within the
	// limits of Batch. It needs a Mode with checkpoints.
	HandleBatch BatchHandler

	// Batch bounds how many records share a transaction.
	Batch BatchConfig

	// Lanes process several records of a partition at the same time.
	Lanes LanesConfig

	// EventID returns the id of a record's event. With several topics it must say whether an id is
	// unique across them (InTopic, AcrossTopics). Default Header(DefaultEventIDHeader).
	EventID EventID

	// Mode says how the consumer knows that a record is processed already. Default
	// ByEventIDAndCheckpoint.
	Mode Mode

	// Start is where a group begins in a partition in which it has committed nothing: FromEarliest, FromLatest
	// or StartAt a time. A partition that is added later begins at its beginning, and so does a topic that matches a
	// TopicPattern when the group has begun in others. Another topic begins when a member first finds it: with FromLatest
	// create it before. Default FromEarliest.
	Start Start

	// Failure says what happens to records that cannot be processed.
	Failure FailureConfig

	// OnOutOfRange says what happens if the log of a partition does not contain the next offset of
	// the group: records have expired unread, or the topic was deleted and created again. Default
	// FailOutOfRange.
	OnOutOfRange OutOfRangePolicy

	// OnDatabaseRewind says what happens if the database has lost its latest commits, for instance
	// by a failover to a standby that lacks them: the checkpoint is then lower than the offset that
	// this group has committed to Kafka. Default RewindToCheckpoint. It has no effect in Mode
	// ByEventID, which cannot notice.
	OnDatabaseRewind RewindPolicy

	// OnUnreadable says what happens to a batch of records that cannot be read although the broker
	// has accepted it from a producer. All records before it are processed first. Default
	// StopOnUnreadable.
	OnUnreadable UnreadablePolicy

	// OnCollision says what becomes of a record whose event id was processed before with another
	// value: the id is not unique, or a producer made a mistake. Default ReportCollision. Each
	// claim stores a fingerprint of the value for that, 8 bytes a row.
	OnCollision CollisionPolicy

	// StoreMetadata stores with each claim where its record comes from: topic, partition,
	// offset, key, time and attempt (idem.Metadata). Default false: it about doubles the
	// size of a row.
	StoreMetadata bool

	// HandlerTimeout is how long an attempt of the handler may take. Then its context ends, and if the handler
	// returns an error the attempt has failed (ErrHandlerTimeout). A handler must return when its context
	// ends: one that does not return blocks its partition, and after a minute the log says so. With
	// HandleBatch the timeout is for the whole batch. Default 0: no limit.
	HandlerTimeout time.Duration

	// CommitInterval is how often offsets are committed to Kafka. After a crash the records since
	// the last commit may be delivered again, and are recognized as duplicates. Default 1 s.
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

	// Logger gets rebalances (info), errors that are retried (warn), and what somebody has to look at,
	// such as dead letters (error). Values are cut at 8 KiB. Default: slog.Default;
	// slog.New(slog.DiscardHandler) is silence.
	Logger *slog.Logger
}

// BatchConfig bounds how many records share a transaction.
type BatchConfig struct {
	// Size is how many records share a transaction at most. Default 500.
	Size int

	// Bytes is how many bytes the keys and values of these records have at most; a single record
	// may have more. With Lanes it is about the records in flight. Default 4 MiB.
	Bytes int

	// Linger makes fewer and larger batches when few records come: a partition that has been read
	// to its end is not fetched again until that time has passed. Unlike a producer's linger.ms it
	// delays no record that comes after a longer pause, and no backlog; any other record waits for
	// at most Linger. Not with Lanes or Mode ByEventID. Default 0: nothing waits.
	Linger time.Duration
}

// LanesConfig is about processing several records of a partition at the same time, for handlers that
// wait for something slow. Records of one key keep their order; records without a key have no order.
//
// Each lane needs a connection of the guard's pool: give the pool (pool_max_conns) one for each
// lane of each partition that this member may own, and one more. A handler that takes connections
// of the same pool for itself needs more. New refuses a pool with fewer connections than Count.
//
// A record that is processed before an earlier one of the partition is known by its event id
// alone until the earlier one is processed, as in Mode ByEventID. Lanes do not go with HandleQueue, HandleBatch,
// Failure.ParkKeys or Mode ByCheckpoint.
type LanesConfig struct {
	// Count is how many records of a partition are processed at the same time. Default 1.
	Count int

	// LookAhead is how many records the lanes may run ahead of the first record that is not
	// processed yet. Default 64 for each lane.
	LookAhead int
}

// FailureConfig is about records that cannot be processed.
type FailureConfig struct {
	// Policy says what becomes of a record that has failed: its handler has used up its attempts
	// (Retry) or returned Permanent, or it has no valid event id. Default StoreDeadLetter.
	Policy FailurePolicy

	// Retry says how often, and how long, the handler is tried for a record.
	Retry RetryPolicy

	// Breaker holds a partition in which one record after the other fails.
	Breaker BreakerPolicy

	// MaxStarts is how many owners of a partition may begin with the same record and exit without
	// reporting an error, before the record is stored as a dead letter: the record may be what kills
	// them. A batch of records that no owner has survived decoding is treated by OnUnreadable. Default
	// 5. MaxStarts needs a Mode with checkpoints and, for records, the Policy StoreDeadLetter.
	MaxStarts int

	// DeadLetterSuffix copies each record that fails, before it is stored, to the topic whose name
	// is that of the record's topic and this suffix, such as "-dlt", into the partition of the same
	// number. The topics must exist. Headers as in Spring Kafka and Kafka Connect say why. A copy
	// may be made twice. Default: no copies.
	DeadLetterSuffix string

	// ParkKeys keeps the order of the records of one key when one of them fails: the later ones are
	// stored behind its dead letter without being tried, and are processed in their order once it
	// is replayed or discarded. It needs a Mode with checkpoints. Default false.
	ParkKeys bool

	// ReplayInterval is how often the consumer looks for dead letters to replay, and for lost commits
	// in partitions to which no records come: two statements for all its partitions. Default 5 s.
	ReplayInterval time.Duration
}

// Complete returns c with its defaults, or an error that wraps ErrInvalidConfig and gives the reason.
// Adapters call it. severalTopics says that events may come from more than one topic.
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
	case c.Start < 0:
		return fmt.Errorf("%w: Start is a time before 1970 (%v)", ErrInvalidConfig, c.Start)
	case c.Mode > ByCheckpoint || c.Failure.Policy > StopOnFailure || c.OnOutOfRange > SkipToLatest || c.OnDatabaseRewind > FailOnRewind || c.OnUnreadable > SkipUnreadable || c.OnCollision > IgnoreCollision:
		return fmt.Errorf("%w: Mode, Failure.Policy, OnOutOfRange, OnDatabaseRewind, OnUnreadable or OnCollision is none of the constants", ErrInvalidConfig)
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

// CheckDurations refuses durations that Kafka's protocol cannot express (milliseconds in 32 bits).
// Adapters call it with the durations of their configuration, by the names of the fields.
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

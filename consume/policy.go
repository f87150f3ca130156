package consume

import (
	"math"
	"time"
)

// Mode says what tells that a record is processed already.
type Mode uint8

const (
	// ByEventIDAndCheckpoint uses both: the event id, and the record's offset, by a checkpoint that is
	// kept in PostgreSQL in the same transaction. A record that is delivered again is never processed
	// again, however late. An event that is produced again is not processed again within the retention.
	ByEventIDAndCheckpoint Mode = iota

	// ByEventID uses the event id alone. A member that has lost its partition without knowing can
	// still process records, but none that another member has processed. If it hangs in a
	// transaction, it holds its event for that time (idle_in_transaction_session_timeout limits
	// that). The consumer cannot notice that the database has lost its latest commits, and does not
	// read their records again; it warns after a failover.
	ByEventID

	// ByCheckpoint uses the offset alone. Nothing is stored for each record, which makes it the
	// fastest; an event that is produced twice is processed twice. Config.EventID is not called.
	ByCheckpoint
)

// Start is where a group begins in a partition in which it has committed nothing: with the first record that is
// not older than a time, in milliseconds since 1970 (StartAt), or behind the last record if there is none.
type Start int64

const (
	// FromEarliest is with the first record that there is.
	FromEarliest Start = 0

	// FromLatest is behind the last record.
	FromLatest Start = math.MaxInt64
)

// StartAt is with the first record whose time is t or later, to the millisecond. The broker finds it by its
// index of times; the time is the producer's, or the broker's where the topic has message.timestamp.type=LogAppendTime.
// Behind it there may be older records.
func StartAt(t time.Time) Start { return Start(t.UnixMilli()) }

// FailurePolicy says what becomes of a record that cannot be processed.
type FailurePolicy uint8

const (
	// StoreDeadLetter stores the record in the table dead_letters, in the transaction that
	// marks its event as processed, and goes on. "idemctl deadletter" lists, replays and discards.
	StoreDeadLetter FailurePolicy = iota

	// StopOnFailure ends Run with a *RecordError.
	StopOnFailure
)

// OutOfRangePolicy says where to go on if the log does not contain the next offset of the group.
type OutOfRangePolicy uint8

const (
	// FailOutOfRange ends Run with ErrOffsetOutOfRange.
	FailOutOfRange OutOfRangePolicy = iota

	// SkipToEarliest goes on with the first record that is left. What has expired is lost. If the
	// offset is beyond the log's end, it goes on at the checkpoint or at the end.
	SkipToEarliest

	// SkipToLatest goes on after the last record. All records that are there are skipped.
	SkipToLatest
)

// RewindPolicy says what happens if the database has lost its latest commits.
type RewindPolicy uint8

const (
	// RewindToCheckpoint goes on at the checkpoint: Kafka still has the records, and their effects
	// are lost together with the checkpoint. It logs an error and sends EventRewound.
	RewindToCheckpoint RewindPolicy = iota

	// FailOnRewind ends Run with an error that wraps idem.ErrRewound.
	FailOnRewind
)

// UnreadablePolicy says what becomes of a batch of records that is in the log and cannot be read:
// its contents are invalid, its format is older than Kafka 0.11, it does not fit into the memory,
// or the process ended each time that it was decoded (FailureConfig.MaxStarts).
type UnreadablePolicy uint8

const (
	// StopOnUnreadable stops the partition before the batch, and ends Run with ErrUnreadable,
	// which names the batch's offsets. The other partitions go on for 10 seconds before that.
	StopOnUnreadable UnreadablePolicy = iota

	// StoreUnreadable stores the batch as a dead letter and goes on after it. The value is the
	// bytes as they are in the log, up to 16 MiB; of a larger batch only the offsets are stored.
	// Such a dead letter cannot be replayed: read its value with other tools and discard it.
	StoreUnreadable

	// SkipUnreadable goes on after the batch (it logs an error and sends EventSkipped). Its records
	// are lost to this consumer.
	SkipUnreadable
)

// CollisionPolicy says what becomes of a record whose event id was processed before with another
// value. Not in Mode ByCheckpoint, which has no event ids.
type CollisionPolicy uint8

const (
	// ReportCollision treats the record as a duplicate and reports it: EventCollision, one line a
	// minute at warn.
	ReportCollision CollisionPolicy = iota

	// FailOnCollision treats the record as one that cannot be processed (FailureConfig.Policy):
	// with StoreDeadLetter it becomes a dead letter without an event id. It sends EventCollision
	// too.
	FailOnCollision

	// IgnoreCollision treats the record as a duplicate. No fingerprints are stored.
	IgnoreCollision
)

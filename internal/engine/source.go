package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/nova-events/idempotent-consumer/consume"
)

// Source is an assigned partition as its Kafka client sees it: all that the engine asks a client for.
// The engine repeats what fails, unless the error is a *FatalError or says otherwise below. Methods
// return soon after ctx ends.
type Source interface {
	// Fetch returns the next committed records. If there are none for a while the batch has none. The
	// caller must release it. The error is ErrOutOfRange if the log does not have the offset, an
	// *UnreadableError if the batch at the offset cannot be read, and wraps consume.ErrUnreadable if
	// the answer makes no sense.
	Fetch(ctx context.Context, request Request) (*Batch, error)

	// Committed returns what the group has committed for the partition.
	Committed(ctx context.Context) (Committed, error)

	// CommitSoon has a place committed with the next ones. It does not block, and a later place takes
	// the place of an earlier one.
	CommitSoon(place Place)

	// Commit commits a place and returns once that has succeeded, or cannot: because ctx has ended or
	// the broker refuses. It repeats by itself what fails.
	Commit(ctx context.Context, place Place) error

	// Topics are those in which a group begins together, as they were when this partition was assigned: its own alone,
	// or all that match a pattern.
	Topics() []Topic

	// Ends returns the ends of some partitions of one of them, of all that were asked for.
	Ends(ctx context.Context, topic string, partitions ...int32) (map[int32]Ends, error)

	// Since returns the offset of the first record, in each of some partitions of one of them, whose time is at or
	// later; None if there is none.
	Since(ctx context.Context, topic string, at time.Time, partitions ...int32) (map[int32]int64, error)

	// CheckTopic returns ErrOtherTopic if the topic is not the one any more that was assigned.
	CheckTopic(ctx context.Context) error

	// EpochEnd returns the latest leader epoch that the log has and that is not above the given one, and
	// the offset behind its last record (KIP-320); None if that is not known.
	EpochEnd(ctx context.Context, epoch int32) (latest int32, end int64, err error)

	// Copy produces a record to the partition of the same number of another topic, acknowledged by
	// all replicas in sync. The error wraps ErrNeverCopied if no retry can do it.
	Copy(ctx context.Context, topic string, record consume.Record) error
}

// None stands for an offset or an epoch that is not known.
const None = -1

// Request asks for the records of a partition.
type Request struct {
	Offset int64

	// After is closed when the batch before this one is released; nil if there is none. Until then
	// this request is one ahead, and is not to take what others need.
	After <-chan struct{}

	// Before is called before records are decoded, with the caller waiting, and says how many of them
	// may be; nil: all. A client that cannot tell calls it before it returns any.
	Before func() (Care, error)

	// Uncounted says that the records do not count as fetched ahead: the caller holds others, and
	// must not wait for them.
	Uncounted bool
}

// Care is how much of an answer is decoded.
type Care int

const (
	// DecodeAll is all that there is.
	DecodeAll Care = iota
	// DecodeFirst is the first batch alone: should decoding another end the process, it will be the
	// first of somebody's answers, and known by that.
	DecodeFirst
	// DecodeNothing makes an *UnreadableError of the first batch, with ErrDeadly.
	DecodeNothing
)

// Batch is what a fetch has found.
type Batch struct {
	Records []consume.Record // in the order of their offsets, from the one asked for on
	Next    int64            // where the next fetch goes on: behind all that was read, holes included

	// HighWatermark is the end of what is replicated; LastStable that of what is delivered before the
	// oldest open transaction ends.
	HighWatermark, LastStable int64

	LeaderEpoch int32         // of the last batch of the log that was read, or None
	Throttle    time.Duration // the broker wants this client to wait for so long, which the next fetch does

	// Release gives back what the records take up, which must not be used any more, and closes
	// Released. It may be called more than once.
	Release  func()
	Released <-chan struct{}
}

// Committed is what a group has committed.
type Committed struct {
	Offset   int64 // None: nothing
	Metadata string
	Any      bool // something is committed for a partition of Topics, if not for this one
}

// AnyCommitted tells whether something is committed for any of some partitions.
func AnyCommitted(partitions []Committed) bool {
	return slices.ContainsFunc(partitions, func(p Committed) bool { return p.Offset != None })
}

// Topic is one that a group consumes.
type Topic struct {
	Name       string
	ID         uuid.UUID
	Partitions int // how many it has
}

// Ends are the ends of a log: the offsets of its first record, and behind its last.
type Ends struct{ First, Last int64 }

var (
	// ErrOutOfRange is that of an offset that is not in the log.
	ErrOutOfRange = errors.New("the offset is out of range")

	// ErrOtherTopic says that a topic has become another one of the same name.
	ErrOtherTopic = errors.New("the topic was deleted and created again")

	// ErrNeverCopied says that no retry can make a copy.
	ErrNeverCopied = errors.New("never to be copied")

	// ErrDeadly is the reason for which a batch is not even tried (DecodeNothing).
	ErrDeadly = errors.New("the process exited without reporting an error each time that it began to decode it")
)

// FatalError says that no retry can heal what it wraps, and what to do.
type FatalError struct{ Err error }

func (e *FatalError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *FatalError) Unwrap() error { return e.Err }

func fatal(err error) bool { return errors.As(err, new(*FatalError)) }

// UnreadableError is returned when the batch at the offset asked for cannot be read, though the
// broker says where in the log it is. What stands before it was returned by the calls before.
type UnreadableError struct {
	First, Last int64  // the batch's offsets
	Size        int    // of the batch in bytes
	Raw         []byte // the batch as the broker sent it; nil if that is more than 16 MiB
	Damaged     bool   // perhaps on its way only: asking again may help
	Err         error
}

func (e *UnreadableError) Error() string {
	return fmt.Sprintf("batch of the offsets %d to %d: %v", e.First, e.Last, e.Err)
}

// Unwrap returns consume.ErrUnreadable and the reason.
func (e *UnreadableError) Unwrap() []error { return []error{consume.ErrUnreadable, e.Err} }

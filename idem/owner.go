package idem

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/nova-events/idempotent-consumer/db"
)

var (
	// ErrFenced is returned when another owner has acquired the partition, or an operator has set its
	// checkpoint: nothing was committed (unless the error also wraps ErrOutcomeUnknown), and nothing of
	// this owner ever will be. Stop working on the partition; to own it again, call Acquire.
	ErrFenced = errors.New("idem: another owner has acquired the partition, or an operator has set its checkpoint")

	// ErrRewound is returned when the checkpoint is lower than this owner has left it: the database
	// has lost its latest commits, for instance by a failover to a standby that lacks them. The
	// effects and claims of those commits are lost too, and this call committed nothing. Call
	// Acquire and read again from Owner.Next.
	ErrRewound = errors.New("idem: the database has lost its latest commits")

	// ErrCheckpointGone is returned when the checkpoint of the owner's partition no longer exists:
	// an operator has renamed or deleted the consumer, the tables were created anew, or this is
	// another database. Nothing was committed. Find out which it is before you go on.
	ErrCheckpointGone = errors.New("idem: the partition's checkpoint is gone")
)

// Owner owns a partition and processes its records. It alone advances the partition's checkpoint: how far
// the consumer has processed the partition, kept in PostgreSQL and advanced in the transactions that
// process its records (Process, ProcessBatch, StoreDeadLetter). A record before the checkpoint is never
// processed again, however old it is.
//
// Acquire gives each owner a random token, and a transaction of an earlier owner fails with
// ErrFenced (the fencing token of Martin Kleppmann, "How to do distributed locking", 2016). The
// checkpoint moves only from where the owner last saw it, so the owner notices a database that has
// lost commits (ErrRewound).
//
// Guard.Unfenced returns an Owner without a token and a checkpoint, for consumers that recognize their
// records by the event ids alone.
//
// Only one goroutine at a time may use an Owner. Any number may call Replay or use an unfenced owner.
// Lanes returns owners for several goroutines.
type Owner struct {
	guard     *Guard
	partition Partition
	lockKey   int64
	token     atomic.Pointer[string] // a UUID; nil in an unfenced owner

	// acquired is the server's time, in microseconds since 1970, since when this owner sees each record of the
	// partition once: of an unfenced one since its first transaction that met a duplicate. 0: it is not known.
	acquired atomic.Int64

	lane      int32        // 0: the partition itself
	lanes     []*Owner     // of a partition whose records are processed out of their order
	laneTries int64        // to make lanes
	seen      atomic.Int64 // the checkpoint, as this owner knows it
	sent      atomic.Int64 // how far this owner may have moved it, should an answer be lost

	epoch      int64 // of this owner
	resetEpoch int64 // that began when the checkpoint was last set

	topicID     uuid.NullUUID
	leaderEpoch *int32 // stored with the checkpoint

	isNew bool
}

// Unfenced returns an owner of a partition for a consumer that keeps no checkpoints: events are claimed by
// their ids alone, so that any number of unfenced owners of one partition may work at the same time. It has
// the methods of an Owner, so that callers can treat both alike: the methods for the token or the
// checkpoint (Advance, Reset, Begin, End, Verify) do nothing and return no error. A record without an event
// id is an error.
func (g *Guard) Unfenced(p Partition) *Owner { return &Owner{guard: g, partition: p} }

func newToken() (string, error) {
	token, err := uuid.NewRandom()
	if err != nil {
		return "", fmt.Errorf("idem: make an owner token: %w", err)
	}

	return token.String(), nil
}

// fenced reports whether the owner has a token and a checkpoint.
func (o *Owner) fenced() bool { return o.token.Load() != nil }

func (o *Owner) check() error {
	if o == nil {
		return fmt.Errorf("%w: the Owner is nil; make one with Acquire or Unfenced", ErrInvalidConfig)
	}

	return o.guard.check()
}

// onPool runs one statement for the owner's guard, with retries.
func (o *Owner) onPool(ctx context.Context, statement func(g *Guard, conn db.DBTX) error) error {
	if err := o.check(); err != nil {
		return err
	}

	return o.guard.onPool(ctx, func(conn db.DBTX) error { return statement(o.guard, conn) })
}

// Partition returns the partition of the owner.
func (o *Owner) Partition() Partition { return o.partition }

// Next returns where to go on: the first offset that this owner does not know to be processed. For an
// unfenced owner it is 0.
func (o *Owner) Next() int64 { return o.seen.Load() }

// Token returns the owner's token, which no other owner has, of any partition. Reset makes another one. For an
// unfenced owner it is empty.
func (o *Owner) Token() string {
	if token := o.token.Load(); token != nil {
		return *token
	}

	return ""
}

// IsNew reports whether Acquire has created the checkpoint (AcquireOptions.Start).
func (o *Owner) IsNew() bool { return o.isNew }

// Epoch returns the owner's number, which is higher than those of the owners before it and grows with each Reset.
// Commit it to Kafka with the offset, and the token, for the owners that come later. A database that has lost commits
// can give a number twice. For an unfenced owner it is 0.
func (o *Owner) Epoch() int64 { return o.epoch }

// ResetSince reports whether the checkpoint was set, by an operator or by Reset, since there was an owner with this
// epoch. If not, and that owner has come further than Next, the database has lost commits.
func (o *Owner) ResetSince(epoch int64) bool { return epoch < o.resetEpoch }

// Recreated reports whether the checkpoint belongs to another topic that had the same name. Call
// Reset to bind the checkpoint to the new topic.
func (o *Owner) Recreated() bool {
	known := o.partition.TopicID != uuid.Nil && o.topicID.Valid

	return known && o.topicID.UUID != o.partition.TopicID
}

// LeaderEpoch returns Kafka's leader epoch of the record before Next, or -1 if it is not known. A log
// that was truncated and filled again has another epoch there (KIP-320).
func (o *Owner) LeaderEpoch() int32 {
	if o.leaderEpoch == nil {
		return -1
	}

	return *o.leaderEpoch
}

// SetLeaderEpoch sets the leader epoch in which the records that follow were written. It is stored the next
// time that the checkpoint advances, or with Reset. -1 means unknown. It does nothing if the owner is unfenced.
func (o *Owner) SetLeaderEpoch(epoch int32) {
	if o.fenced() && epoch != o.LeaderEpoch() {
		o.leaderEpoch = &epoch
	}
}

// at sets where the checkpoint is, backward too.
func (o *Owner) at(next int64) {
	o.seen.Store(next)
	o.sent.Store(next)
}

// moves notes that this owner is about to move the checkpoint to next.
func (o *Owner) moves(next int64) { o.sent.Store(max(o.sent.Load(), next)) }

// passed notes that this owner has committed the records before next.
func (o *Owner) passed(next int64) {
	if o != nil {
		o.seen.Store(max(o.seen.Load(), next))
	}
}

// Advance moves the checkpoint forward to next, for records that needed no transaction (duplicates),
// offsets without a record, and records that lanes have processed. It does nothing if the checkpoint
// is there already, or if the owner is unfenced.
func (o *Owner) Advance(ctx context.Context, next int64) error {
	if err := o.check(); err != nil || !o.fenced() || next <= o.Next() {
		return err
	}
	g := o.guard
	params := db.CheckpointAdvanceParams{
		NextOffset: next, LeaderEpoch: o.leaderEpoch,
		ConsumerID: g.consumer, Topic: o.partition.Topic, Partition: o.partition.Number, OwnerToken: o.Token(),
		Lanes: []int32{}, LaneOffsets: []int64{}, // nil would be null.
	}
	for _, lane := range o.lanes {
		params.Lanes, params.LaneOffsets = append(params.Lanes, lane.lane), append(params.LaneOffsets, lane.Next())
	}
	o.moves(next)
	err := g.onPool(ctx, func(conn db.DBTX) error {
		params.SeenOffset = o.Next()
		n, err := g.queries.CheckpointAdvance(ctx, conn, params)
		if err != nil || n == 1 {
			return err
		}
		if err := o.verify(ctx, conn); err != nil {
			return err
		}
		at, err := g.readCheckpoint(ctx, conn, o)
		if err != nil || at >= next {
			return err
		}
		o.passed(at) // An earlier statement or COMMIT, whose answer was lost, took effect: from there on the next try goes.

		return errMoved
	})
	if err == nil {
		o.passed(next)
	}

	return err
}

// readCheckpoint returns where the checkpoint is, once a transaction that moves it has ended, and an
// error if it is not this owner's, or behind where the owner has left it. While the owner is the
// latest nobody else can have moved it forward.
func (g *Guard) readCheckpoint(ctx context.Context, conn db.DBTX, o *Owner) (int64, error) {
	rows, err := g.queries.CheckpointLock(ctx, conn, o.lockParams())
	switch {
	case err != nil:
		return 0, fmt.Errorf("idem: read the checkpoint: %w", explain(err))
	case len(rows) == 0 && o.lane > 0:
		if err := o.verify(ctx, conn); err != nil {
			return 0, err
		}

		return 0, fmt.Errorf("%w: a lane of %v is gone", ErrRewound, o.partition)
	case len(rows) == 0:
		return 0, o.gone()
	}

	return rows[0].NextOffset, o.judge(rows[0].OwnerToken, rows[0].NextOffset, o.Next())
}

// judge returns an error if a row is not this owner's, or behind where the owner had left it when the
// row was read, or ahead of all that the owner has tried.
func (o *Owner) judge(token uuid.NullUUID, next, left int64) error {
	switch {
	case !token.Valid || token.UUID.String() != o.Token():
		return ErrFenced
	case next < left && o.lane > 0:
		return fmt.Errorf("%w: a lane of %v was at %d and is at %d", ErrRewound, o.partition, left, next)
	case next < left:
		return fmt.Errorf("%w: the checkpoint of %v was at %d and is at %d", ErrRewound, o.partition, left, next)
	case next > o.sent.Load(): // The database went back to before a Reset, or somebody has edited the row.
		return fmt.Errorf("%w: the checkpoint of %v is at %d, where this owner has not moved it", ErrFenced, o.partition, next)
	default:
		return nil
	}
}

func (o *Owner) lockParams() db.CheckpointLockParams {
	return db.CheckpointLockParams{ConsumerID: o.guard.consumer, Topic: o.partition.Topic, Partition: o.partition.Number, Lane: o.lane}
}

// Verify checks whether this owner still owns the partition and the database still has what the owner has
// committed. Call it for a partition in which nothing happens; otherwise the next transaction finds out.
// The errors are ErrFenced, ErrRewound, ErrCheckpointGone, or those of the connection. It does nothing if
// the owner is unfenced.
func (o *Owner) Verify(ctx context.Context) error {
	if err := o.check(); err != nil || !o.fenced() {
		return err
	}

	return o.guard.onPool(ctx, func(conn db.DBTX) error { return o.verify(ctx, conn) })
}

// gone says that the partition has no checkpoint, and what may have taken it.
func (o *Owner) gone() error {
	return fmt.Errorf("%w: %v of consumer %q: the consumer was renamed or deleted, the tables were made anew, or this is another database; find out which before you start it again",
		ErrCheckpointGone, o.partition, o.guard.Consumer())
}

func (o *Owner) verify(ctx context.Context, conn db.DBTX) error {
	known := append([]*Owner{o}, o.lanes...)
	if o.lane > 0 {
		whole := &Owner{partition: o.partition}
		whole.token.Store(o.token.Load())
		whole.moves(math.MaxInt64) // Only whose it is.
		known = []*Owner{whole}
	}
	left := make([]int64, len(known)) // Before the rows are read: lanes go on meanwhile.
	for i, owner := range known {
		left[i] = owner.Next()
	}
	rows, err := o.guard.queries.CheckpointRead(ctx, conn, db.CheckpointReadParams{
		ConsumerID: o.guard.consumer, Topic: o.partition.Topic, Partition: o.partition.Number,
	})
	if err != nil {
		return fmt.Errorf("idem: read the checkpoint: %w", explain(err))
	}
	for k, owner := range known {
		i := slices.IndexFunc(rows, func(row db.CheckpointReadRow) bool { return row.Lane == owner.lane })
		switch {
		case i < 0 && owner.lane > 0:
			return fmt.Errorf("%w: a lane of %v is gone", ErrRewound, o.partition)
		case i < 0:
			return o.gone()
		}
		if err := owner.judge(rows[i].OwnerToken, rows[i].NextOffset, left[k]); err != nil {
			return err
		}
	}

	return nil
}

// Reset sets the checkpoint to next, even backward: for a topic that was created anew, or for an offset
// that an operator has chosen. Call SetLeaderEpoch before, with the epoch of the record before next, or -1.
// Records from there on are processed, unless their event ids are known. Lanes end (ErrFenced); call Lanes
// again. The owner has another token after it, so that it is a former owner (ErrFenced) if the database loses
// the Reset. If the database has lost what this owner has committed, nothing is set (ErrRewound): acquire the partition
// again, and choose by that checkpoint. Reset does nothing if the owner is unfenced.
func (o *Owner) Reset(ctx context.Context, next int64) error {
	if err := o.check(); err != nil || !o.fenced() {
		return err
	}
	token, err := newToken()
	if err != nil {
		return err
	}
	id := nullable(o.partition.TopicID)
	var epoch int64
	err = o.place(ctx, func(conn db.DBTX) (int64, error) {
		rows, err := o.guard.queries.CheckpointReset(ctx, conn, db.CheckpointResetParams{
			NextOffset: next, TopicID: id, LeaderEpoch: o.leaderEpoch, NextToken: token, SeenOffset: o.Next(),
			ConsumerID: o.guard.consumer, Topic: o.partition.Topic, Partition: o.partition.Number, OwnerToken: o.Token(),
		})
		if len(rows) == 1 {
			epoch = rows[0]
		}

		return int64(len(rows)), err
	})
	if err == nil {
		o.token.Store(&token)
		o.epoch, o.resetEpoch = epoch, epoch
		o.topicID, o.lanes = id, nil
		o.acquired.Store(math.MaxInt64) // It may see the records again.
		o.at(next)
	}

	return err
}

// Begin stores that this owner begins to process the record at offset. It returns how many owners in a
// row have begun with that record, this one included, each counted once. The number grows if owner after
// owner ends while it processes its first record, as happens with a record that kills its process. Call
// Begin for the first record after Acquire. End clears the mark after an orderly stop. For an unfenced
// owner Begin returns 0.
func (o *Owner) Begin(ctx context.Context, offset int64) (owners int, err error) {
	owners, _, err = o.begin(ctx, offset, true)

	return owners, err
}

// BeginDecoding is Begin for bytes that are to be decoded first, because decoding can kill the process
// too. decoded reports whether one of the owners has called Begin for the same offset, and so has
// decoded the record. Call Begin when the record is decoded; that is not needed as long as the number
// of owners is small. For an unfenced owner BeginDecoding returns 0 and false.
func (o *Owner) BeginDecoding(ctx context.Context, offset int64) (owners int, decoded bool, err error) {
	return o.begin(ctx, offset, false)
}

func (o *Owner) begin(ctx context.Context, offset int64, decoded bool) (int, bool, error) {
	if err := o.check(); err != nil || !o.fenced() {
		return 0, false, err
	}
	var row db.CheckpointStartRow
	err := o.update(ctx, func(conn db.DBTX) (int64, error) {
		rows, err := o.guard.queries.CheckpointStart(ctx, conn, db.CheckpointStartParams{
			StartedOffset: &offset, Decoded: decoded,
			ConsumerID: o.guard.consumer, Topic: o.partition.Topic, Partition: o.partition.Number, OwnerToken: o.Token(),
		})
		if len(rows) == 1 {
			row = rows[0]
		}

		return int64(len(rows)), err
	})

	return int(row.Starts), row.Decoded, err
}

// End clears the mark set by Begin or BeginDecoding after an orderly stop. It does nothing if the owner is
// unfenced.
func (o *Owner) End(ctx context.Context, offset int64) error {
	if err := o.check(); err != nil || !o.fenced() {
		return err
	}

	return o.guard.onPool(ctx, func(conn db.DBTX) error {
		return o.guard.queries.CheckpointTakeBackStart(ctx, conn, db.CheckpointTakeBackStartParams{
			StartedOffset: &offset,
			ConsumerID:    o.guard.consumer, Topic: o.partition.Topic, Partition: o.partition.Number, OwnerToken: o.Token(),
		})
	})
}

// update changes the checkpoint's row, which is there only for its owner.
func (o *Owner) update(ctx context.Context, statement func(conn db.DBTX) (int64, error)) error {
	var rows int64
	err := o.guard.onPool(ctx, func(conn db.DBTX) error {
		var err error
		rows, err = statement(conn)

		return err
	})
	if err == nil && rows == 0 {
		return ErrFenced
	}

	return err
}

// place is update for what takes the checkpoint to be where the owner has seen it. It reads the lanes, as verify does: it is for the goroutine
// that makes them.
func (o *Owner) place(ctx context.Context, statement func(conn db.DBTX) (int64, error)) error {
	return o.update(ctx, func(conn db.DBTX) (int64, error) {
		rows, err := statement(conn)
		if err == nil && rows == 0 {
			err = o.verify(ctx, conn)
		}

		return rows, err
	})
}

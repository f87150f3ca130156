package idem

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nova-events/idempotent-consumer/db"
)

// ErrFenced is returned when another owner has taken over the partition: nothing was committed
// (unless the error also wraps ErrOutcomeUnknown), and nothing of this owner ever will be. Stop
// working on the partition; TakeOver begins anew.
var ErrFenced = errors.New("idem: another owner has taken over the partition")

// takeOverWait is how long TakeOver waits at once for a transaction of the former owner.
const takeOverWait = 100 * time.Millisecond

// Partition names a log of ordered records, in Kafka's terms.
type Partition struct {
	Topic  string
	Number int32

	// TopicID tells a topic from one of the same name that was deleted before. Zero if unknown.
	TopicID uuid.UUID
}

func (p Partition) String() string { return p.Topic + "/" + strconv.Itoa(int(p.Number)) }

// place names a record in the partition.
func (p Partition) place(offset int64) string {
	place := p.String() + "/" + strconv.FormatInt(offset, 10)
	if p.TopicID != uuid.Nil {
		place += " of " + p.TopicID.String()
	}

	return place
}

// Watermark is how far a consumer has processed a partition, kept in PostgreSQL and advanced in
// the transactions that process its records (WithWatermark, ProcessOffset). A record before it
// is never processed again, however old it is. Only the latest owner can advance it: TakeOver
// gives each owner a greater epoch, and a transaction of an earlier one fails with ErrFenced.
// That is the fencing token of Martin Kleppmann, "How to do distributed locking", 2016.
//
// Its methods may be used by one goroutine at a time.
type Watermark struct {
	guard     *Guard
	partition Partition
	consumer  int32
	epoch     int64
	next      int64
	topicID   uuid.NullUUID
}

// TakeOver makes the caller the owner of a partition's watermark. It waits for a transaction
// that the former owner is about to commit. If that takes longer than patience, the former
// owner is taken for frozen or gone and its session in PostgreSQL is terminated, which needs
// the same role (or pg_signal_backend). Transient errors are retried by the guard's policy.
func (g *Guard) TakeOver(ctx context.Context, p Partition, patience time.Duration) (*Watermark, error) {
	if err := g.check(); err != nil {
		return nil, err
	}
	if p.Topic == "" || p.Number < 0 || patience < 0 {
		return nil, fmt.Errorf("%w: TakeOver needs a topic, a partition and a patience that are not negative", ErrInvalidConfig)
	}
	w := &Watermark{guard: g, partition: p}
	deadline := time.Now().Add(patience)
	for {
		err := g.config.Retry.do(ctx, g.log, func() error { return w.takeOver(ctx) })
		switch {
		case err == nil:
			return w, nil
		case !errors.Is(err, errHeld):
			return nil, err
		case time.Now().Before(deadline):
			continue
		}
		if err := w.terminateHolder(ctx); err != nil {
			return nil, err
		}
	}
}

// errHeld says that a transaction of the former owner is under way.
var errHeld = errors.New("the former owner's transaction is under way")

func (w *Watermark) takeOver(ctx context.Context) error {
	g := w.guard
	consumer, err := g.register(ctx)
	if err != nil {
		return err
	}
	owner := ownerName()
	var row db.OffsetTakeOverRow
	pooled, err := g.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("idem: acquire a connection: %w", err)
	}
	defer pooled.Release()
	err = pgx.BeginTxFunc(ctx, pooled, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		conn := g.names.on(tx)
		if err := g.queries.OffsetLimitWait(ctx, conn, strconv.FormatInt(takeOverWait.Milliseconds(), 10)); err != nil {
			return err //nolint:wrapcheck // The caller wraps it.
		}
		row, err = g.queries.OffsetTakeOver(ctx, conn, db.OffsetTakeOverParams{
			ConsumerID: consumer, Topic: w.partition.Topic, Partition: w.partition.Number,
			TopicID: nullable(w.partition.TopicID), Owner: &owner,
		})

		return err //nolint:wrapcheck // The caller wraps it.
	})
	var pgErr *pgconn.PgError
	switch {
	case errors.As(err, &pgErr) && pgErr.Code == "55P03":
		return errHeld
	case err != nil:
		err = explain(err)
		closeReadOnly(ctx, pooled, err)

		return fmt.Errorf("idem: take over %v: %w", w.partition, err)
	}
	w.consumer, w.epoch, w.next, w.topicID = consumer, row.Epoch, row.NextOffset, row.TopicID

	return nil
}

func (w *Watermark) terminateHolder(ctx context.Context) error {
	g := w.guard
	err := g.onPool(ctx, func(conn db.DBTX, consumer int32) error {
		ended, err := g.queries.OffsetTerminateHolder(ctx, conn, db.OffsetTerminateHolderParams{
			ConsumerID: consumer, Topic: w.partition.Topic, Partition: w.partition.Number,
		})
		for _, session := range ended {
			g.log.WarnContext(ctx, "idem: session of a former owner terminated", "partition", w.partition.String(), "pid", session.Pid)
		}

		return err //nolint:wrapcheck // onPool wraps it.
	})
	if err != nil {
		return fmt.Errorf("idem: take over %v: end the transaction of the former owner: %w", w.partition, err)
	}

	return nil
}

// Next is where to go on: the first offset that this owner does not know to be processed. 0 if
// none is.
func (w *Watermark) Next() int64 { return w.next }

// Recreated reports whether the watermark belongs to another topic that had the same name. Then
// it says nothing about this one; Reset makes it do so.
func (w *Watermark) Recreated() bool {
	known := w.partition.TopicID != uuid.Nil && w.topicID.Valid

	return known && w.topicID.UUID != w.partition.TopicID
}

// passed notes that this owner has committed the records before next.
func (w *Watermark) passed(next int64) {
	if w != nil {
		w.next = max(w.next, next)
	}
}

// Advance sets the watermark forward to next, for records that needed no transaction:
// duplicates, or places in the log without a record. It does nothing if it is there already.
func (w *Watermark) Advance(ctx context.Context, next int64) error {
	if next <= w.next {
		return nil
	}
	err := w.update(ctx, func(conn db.DBTX) (int64, error) {
		return w.guard.queries.OffsetAdvance(ctx, conn, db.OffsetAdvanceParams{
			NextOffset: next, ConsumerID: w.consumer, Topic: w.partition.Topic, Partition: w.partition.Number, Epoch: w.epoch,
		})
	})
	if err == nil {
		w.next = next
	}

	return err
}

// Reset sets the watermark to next, even back, for a log that has become another one: records
// from there on are processed, unless their event ids are known.
func (w *Watermark) Reset(ctx context.Context, next int64) error {
	id := nullable(w.partition.TopicID)
	err := w.update(ctx, func(conn db.DBTX) (int64, error) {
		return w.guard.queries.OffsetReset(ctx, conn, db.OffsetResetParams{
			NextOffset: next, TopicID: id,
			ConsumerID: w.consumer, Topic: w.partition.Topic, Partition: w.partition.Number, Epoch: w.epoch,
		})
	})
	if err == nil {
		w.next, w.topicID = next, id
	}

	return err
}

// Begin notes that this owner begins with the record at offset and returns how many owners in a
// row have, this one included, each counted once. An owner that ended while it processed its
// first record shows here: a record that kills its process is begun by one after the other. Call
// it for the first record after TakeOver; End takes it back.
func (w *Watermark) Begin(ctx context.Context, offset int64) (int, error) {
	var starts int32
	err := w.update(ctx, func(conn db.DBTX) (int64, error) {
		rows, err := w.guard.queries.OffsetStart(ctx, conn, db.OffsetStartParams{
			StartedOffset: &offset,
			ConsumerID:    w.consumer, Topic: w.partition.Topic, Partition: w.partition.Number, Epoch: w.epoch,
		})
		if len(rows) == 1 {
			starts = rows[0]
		}

		return int64(len(rows)), err
	})

	return int(starts), err
}

// End takes Begin back: the owner gives the record up in order.
func (w *Watermark) End(ctx context.Context, offset int64) error {
	return w.guard.onPool(ctx, func(conn db.DBTX, _ int32) error {
		return w.guard.queries.OffsetTakeBackStart(ctx, conn, db.OffsetTakeBackStartParams{
			StartedOffset: &offset,
			ConsumerID:    w.consumer, Topic: w.partition.Topic, Partition: w.partition.Number, Epoch: w.epoch,
		})
	})
}

// update changes the watermark's row, which is there only for its owner.
func (w *Watermark) update(ctx context.Context, statement func(conn db.DBTX) (int64, error)) error {
	var rows int64
	err := w.guard.onPool(ctx, func(conn db.DBTX, _ int32) error {
		var err error
		rows, err = statement(conn)

		return err
	})
	if err == nil && rows == 0 {
		return ErrFenced
	}

	return err
}

func nullable(id uuid.UUID) uuid.NullUUID { return uuid.NullUUID{UUID: id, Valid: id != uuid.Nil} }

// ownerName is for people who look at the table.
func ownerName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "?"
	}

	return host + "/" + strconv.Itoa(os.Getpid())
}

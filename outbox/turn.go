package outbox

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
	"github.com/nova-events/idempotent-consumer/internal/tables"
)

// turnLength is for how long a turn reads on. What was sent in it is sent again if its COMMIT fails.
const turnLength = 100 * time.Millisecond

// lockTimeout is the SQLSTATE lock_not_available.
const lockTimeout = "55P03"

// turn is one transaction of a relay. It waits for those of other relays, and takes records to Kafka in portions. While the
// producer has one, PostgreSQL deletes the one before, which Kafka has acknowledged, and reads the next. The lock is the
// transaction's, so a relay that has lost it can delete nothing. While records are produced the transaction holds no snapshot, and
// behind the first portion a number, so that it keeps vacuum from its work for no longer than a turn.
type turn struct {
	*Relay

	conn     db.DBTX
	began    time.Time
	drawn    int64 // the highest id that was given out before this transaction got its number
	numbered bool  // it has one
	more     bool  // there may be more to read
	end      TurnEnd
}

// takeTurn reports whether there may be more to do right now.
func (r *Relay) takeTurn(ctx context.Context) (more bool, err error) {
	t := &turn{Relay: r, more: true, end: TurnEnd{Err: errNoReturn}}
	ctx = begin(ctx, r.config.Hooks.Turn, TurnBegin{})
	defer func() { end(ctx, r.config.Hooks.Turn, TurnBegin{}, t.end) }()
	if err = t.run(ctx); err != nil {
		err = fmt.Errorf("outbox: relay: %w", explain(err))
	}
	t.end.Err = err

	return t.more, err
}

func (t *turn) run(ctx context.Context) error {
	beginning, cancel := context.WithTimeout(ctx, t.idle()+t.silence)
	defer cancel()
	conn, err := t.pool.Acquire(beginning)
	if err != nil {
		return fmt.Errorf("acquire a connection: %w", err)
	}
	defer conn.Release() // Closes a connection whose transaction is open.
	tx, err := conn.BeginTx(beginning, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite})
	if err != nil {
		_ = conn.Conn().Close(beginning)

		return fmt.Errorf("begin: %w", err)
	}
	t.conn = tables.Qualified{DBTX: tx, Schema: t.config.Schema}
	if taken, err := t.take(beginning); err != nil || !taken {
		return err
	}
	if err := t.portions(ctx); err != nil {
		return err
	}
	ctx, cancel = t.patient(ctx)
	defer cancel()
	if !t.numbered && t.drawn > t.cursor.numbered+batchRecords { // Much is being written, and nothing is committed.
		if err := queries.OutboxNumber(ctx, t.conn); err != nil {
			return fmt.Errorf("get a number: %w", err)
		}
		t.numbered = true
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if t.numbered {
		t.cursor.numbered = t.drawn
	}

	return nil
}

// patient returns a context for statements. It ends when the server has been silent for too long, and lasts a little longer than ctx:
// what Kafka has and PostgreSQL does not know of is sent again.
func (r *Relay) patient(ctx context.Context) (context.Context, context.CancelFunc) {
	longer, stop := backoff.Outlive(ctx, grace)
	ctx, cancel := context.WithTimeout(longer, r.silence)

	return ctx, func() {
		cancel()
		stop()
	}
}

// idle is for how long a relay keeps its turn without a word to the server, and for how long others wait for it at once.
func (r *Relay) idle() time.Duration { return r.config.ProduceTimeout + grace }

// take waits for the turns of other relays, does what was decided about failed records, and sees up to where to read. It reports whether
// the turn is this relay's: after a time without an answer the server is asked again.
func (t *turn) take(ctx context.Context) (mine bool, err error) {
	taken, err := queries.OutboxTakeTurn(ctx, t.conn, db.OutboxTakeTurnParams{
		LockKey: t.lockKey, Milliseconds: strconv.FormatInt(t.idle().Milliseconds(), 10),
	})
	var pgErr *pgconn.PgError
	switch {
	case errors.As(err, &pgErr) && pgErr.Code == lockTimeout:
		return false, nil
	case err != nil:
		return false, fmt.Errorf("take the turn: %w", err)
	}
	look, err := queries.OutboxLook(ctx, t.conn)
	if err != nil {
		return false, fmt.Errorf("look for decisions: %w", err)
	}
	if t.isDue() || look.Released || t.held { // Another relay may have released since what this one has passed, and not sent it.
		t.lookAgain()
	}
	t.began, t.drawn, t.held = time.Now(), taken.Drawn, look.Held
	t.cursor.aim(look.Snapshot, look.Server)

	return true, nil
}

// portions takes one portion after the other to Kafka, until all is read or the turn is long enough.
func (t *turn) portions(ctx context.Context) error {
	d := newDelivery(t.Relay)
	defer func() {
		t.end.Waiting = d.left
		t.learn(ctx, d, t.end.Delivered)
	}()
	rows, err := t.read(ctx)
	if err == nil && len(rows) > 0 {
		t.end.Oldest = max(0, time.Since(rows[0].CreatedAt))
	}
	for err == nil && len(rows) > 0 {
		rows, err = t.portion(ctx, d, rows)
	}
	if err != nil {
		return err
	}

	return t.note(ctx, d.takeSent())
}

// portion sends records to Kafka, while PostgreSQL deletes those that were sent before and reads the next ones, which it
// returns.
func (t *turn) portion(ctx context.Context, d *delivery, rows []db.OutboxReadRow) ([]db.OutboxReadRow, error) {
	before, last := d.takeSent(), ctx.Err() != nil || len(d.waiting) > 0 || time.Since(t.began) > turnLength
	ahead := sync.OnceValues(func() ([]db.OutboxReadRow, error) {
		if err := t.note(ctx, before); err != nil || last {
			return nil, err
		}

		return t.read(ctx)
	})
	go ahead()    //nolint:errcheck // The last call returns it.
	defer ahead() //nolint:errcheck // If a hook panics, it ends before the transaction does.

	// The end of ctx is no reason to stop: what is sent would be sent again.
	producing, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.config.ProduceTimeout)
	defer cancel()
	d.send(producing, rows)

	return ahead()
}

// read returns the next records. Without any, all has been read.
func (t *turn) read(ctx context.Context) ([]db.OutboxReadRow, error) {
	ctx, cancel := t.patient(ctx)
	defer cancel()
	c := &t.cursor
	rows, err := queries.OutboxRead(ctx, t.conn, db.OutboxReadParams{
		Done: c.done, Target: c.target, Low: c.low, After: c.after, Waiting: t.away(), Held: t.held, MaxRecords: t.fit, MaxBytes: int64(t.config.MaxBytes),
	})
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	c.read(rows)
	if t.more = len(rows) > 0; t.more {
		t.fit = fit(len(rows), rows[len(rows)-1].Bytes, t.config.MaxBytes)
	}

	return rows, nil
}

// fit returns how many records to look for, when some have a size and the next ones may have about the same: PostgreSQL reads
// them all before it leaves out what is too much.
func fit(records int, size int64, maxBytes int) int32 {
	return int32(min(1+int64(records)*int64(maxBytes)/size*9/8, batchRecords)) //nolint:gosec // It is small.
}

// note writes down what became of records.
func (t *turn) note(ctx context.Context, s sent) error {
	ctx, cancel := t.patient(ctx)
	defer cancel()
	var err error
	if len(s.delivered) > 0 {
		err = queries.OutboxDelete(ctx, t.conn, s.delivered)
	}
	if err == nil && len(s.failed) > 0 {
		err = queries.OutboxFail(ctx, t.conn, db.OutboxFailParams{Ids: s.failed, Errors: s.reasons})
	}
	if err == nil && len(s.parked) > 0 {
		err = queries.OutboxPark(ctx, t.conn, s.parked)
	}
	if err != nil {
		return fmt.Errorf("note what was sent: %w", err)
	}
	t.held = t.held || len(s.failed)+len(s.parked) > 0
	t.numbered = t.numbered || len(s.delivered)+len(s.failed)+len(s.parked) > 0
	t.end.Delivered, t.end.Failed, t.end.Parked = t.end.Delivered+len(s.delivered), t.end.Failed+len(s.failed), t.end.Parked+len(s.parked)

	return nil
}

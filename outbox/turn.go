package outbox

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/internal/tables"
)

// turn is one transaction of a relay. It waits for those of other relays, reads records, has them produced, and
// deletes those that Kafka has. The lock is the transaction's, so a relay that has lost it can delete nothing.
// While records are produced the transaction holds no snapshot, and so does not keep vacuum from its work.
type turn struct {
	*Relay

	conn     db.DBTX
	drawn    int64 // the highest id that was given out before this transaction got its number
	numbered bool  // it has one
	more     bool  // there may be more to read
	end      TurnEnd
}

// takeTurn reports whether there may be more to do right now.
func (r *Relay) takeTurn(ctx context.Context) (more bool, err error) {
	t := &turn{Relay: r, end: TurnEnd{Err: errNoReturn}}
	ctx = begin(ctx, r.config.Hooks.Turn, TurnBegin{})
	defer func() { end(ctx, r.config.Hooks.Turn, TurnBegin{}, t.end) }()
	if err = t.run(ctx); err != nil {
		err = fmt.Errorf("outbox: relay: %w", explain(err))
		r.cursor = fromTheBeginning()
	}
	t.end.Err = err

	return t.more && err == nil, err
}

func (t *turn) run(ctx context.Context) error {
	tx, err := t.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite})
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // After COMMIT it does nothing; else the error is known.
	t.conn = tables.Qualified{DBTX: tx, Schema: t.config.Schema}
	if err := t.take(ctx); err != nil {
		return fmt.Errorf("take the turn: %w", err)
	}
	rows, err := t.read(ctx)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if len(rows) > 0 {
		t.end.Oldest = max(0, time.Since(time.UnixMicro(rows[0].CreatedMicros)))
		if err := t.note(ctx, t.deliver(ctx, rows)); err != nil {
			return fmt.Errorf("note what was sent: %w", err)
		}
	}
	if !t.numbered && t.drawn > t.cursor.numbered+batchRecords { // Much is being written, and nothing is committed.
		if err := queries.OutboxNumber(ctx, t.conn); err != nil {
			return fmt.Errorf("get a number: %w", err)
		}
		t.numbered = true
	}
	ctx, cancel := outlive(ctx, grace)
	defer cancel()
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if t.numbered {
		t.cursor.numbered = t.drawn
	}

	return nil
}

// outlive returns a context that lasts longer than ctx: what Kafka has and PostgreSQL does not know of is sent again.
func outlive(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), d)
}

// take waits for the turns of other relays.
func (t *turn) take(ctx context.Context) error {
	idle := (t.config.ProduceTimeout + grace).Milliseconds()
	taken, err := queries.OutboxTakeTurn(ctx, t.conn, db.OutboxTakeTurnParams{LockKey: t.lockKey, Milliseconds: strconv.FormatInt(idle, 10)})
	t.drawn = taken.Drawn

	return err
}

// read does what was decided about failed records, and returns the next ones.
func (t *turn) read(ctx context.Context) ([]db.OutboxReadRow, error) {
	released, err := queries.OutboxRelease(ctx, t.conn)
	if err != nil {
		return nil, err
	}
	t.lookAgain(released > 0)
	for {
		c := &t.cursor
		rows, err := queries.OutboxRead(ctx, t.conn, db.OutboxReadParams{
			Done: c.done, Target: c.target, Low: c.low, After: c.after, Waiting: t.away(), MaxRecords: batchRecords, MaxBytes: int64(t.config.MaxBytes),
		})
		if err != nil {
			return nil, err
		}
		if !c.isOf(rows) {
			*c = fromTheBeginning()

			continue
		}
		if t.more = c.read(rows); rows[0].ID == 0 {
			return nil, nil
		}

		return rows, nil
	}
}

// deliver sends records to Kafka. The end of ctx is no reason to stop: what is sent would be sent again.
func (t *turn) deliver(ctx context.Context, rows []db.OutboxReadRow) *delivery {
	producing, cancel := outlive(ctx, t.config.ProduceTimeout)
	defer cancel()
	d := newDelivery(t.Relay, rows)
	d.send(producing, rows)
	t.end.Delivered, t.end.Failed, t.end.Parked, t.end.Waiting = len(d.delivered), len(d.failed), len(d.parked), d.left
	t.learn(ctx, d)

	return d
}

// note writes down what became of records.
func (t *turn) note(ctx context.Context, d *delivery) error {
	ctx, cancel := outlive(ctx, grace)
	defer cancel()
	t.numbered = len(d.delivered)+len(d.failed)+len(d.parked) > 0
	if len(d.delivered) > 0 {
		if err := queries.OutboxDelete(ctx, t.conn, d.delivered); err != nil {
			return err
		}
	}
	if len(d.failed) > 0 {
		if err := queries.OutboxFail(ctx, t.conn, db.OutboxFailParams{Ids: d.failed, Errors: d.reasons}); err != nil {
			return err
		}
	}
	if len(d.parked) > 0 {
		return queries.OutboxPark(ctx, t.conn, d.parked)
	}

	return nil
}

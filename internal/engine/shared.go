package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
)

// sharedAim is how long a transaction that several records share should take at most, because
// others wait for the rows that it has changed.
const sharedAim = 20 * time.Millisecond

// pace decides how many records share a transaction. It begins with one, at most doubles, and keeps
// to sharedAim by the time that a record took last.
type pace struct{ records int }

// most returns how many records the next transaction may have.
func (p *pace) most() int { return max(1, p.records) }

// took stores how long the records of a transaction took.
func (p *pace) took(records int, d time.Duration) {
	each := max(d/time.Duration(records), 1)
	p.records = max(1, min(2*max(records, p.records), int(sharedAim/each)))
}

// alone makes the worker process the next records one by one, and then more again. It is called
// after a conflict with other transactions, or between records, and after a failure of the
// infrastructure.
func (p *pace) alone() { p.records = 1 }

// errAborted is the error of a handler that has returned nil although one of its statements failed.
var errAborted = errors.New("a statement of the handler failed and the handler returned no error, so the transaction is aborted")

// errEnded is the error of a handler that has ended its transaction in another way.
var errEnded = errors.New("the handler has ended the transaction")

// sharedHandler runs Config.Handle for one record after the other in one transaction. Each call gets
// what it would get alone. The index says which record has failed, so no other is suspected.
func (w *worker) sharedHandler(ctx context.Context, tx pgx.Tx, fresh []idem.Event) error {
	defer w.handled()
	for i, m := range messagesOf(fresh) {
		w.handles(m.Offset)
		err := w.call(ctx, m, func() consume.Messages { return fetchedMessages(fresh[i : i+1]) }, func(ctx context.Context) error {
			return w.handle(ctx, tx, m)
		})
		if err == nil {
			err = endOfTurn(tx)
		}
		if err != nil {
			return &idem.EventError{Index: i, Err: err}
		}
	}

	return nil
}

// endOfTurn returns an error if a handler leaves a transaction that the next one cannot use.
func endOfTurn(tx pgx.Tx) error {
	switch tx.Conn().PgConn().TxStatus() {
	case 'T':
		return nil
	case 'E':
		return errAborted
	default:
		return errEnded
	}
}

// queueHandler lets Config.HandleQueue queue the statements of all records, and sends them
// together.
func (w *worker) queueHandler(ctx context.Context, tx pgx.Tx, fresh []idem.Event) error {
	w.handles(fresh[0].Offset)
	defer w.handled()
	var queue pgx.Batch
	messages := messagesOf(fresh)
	record := -1 // whose statement's answer is read
	for i, m := range messages {
		var own pgx.Batch // A handler can only take back what it has queued itself.
		err := w.call(ctx, m, func() consume.Messages { return fetchedMessages(fresh[i : i+1]) }, func(ctx context.Context) error {
			return w.config.HandleQueue(ctx, &own, m)
		})
		if err != nil {
			return &idem.EventError{Index: i, Err: err}
		}
		for _, statement := range own.QueuedQueries {
			read := statement.Fn
			statement.Fn = func(results pgx.BatchResults) error {
				record = i
				if read != nil {
					return read(results)
				}
				_, err := results.Exec()

				return err
			}
		}
		queue.QueuedQueries = append(queue.QueuedQueries, own.QueuedQueries...)
	}
	var err error
	if queue.Len() > 0 {
		err = w.safely(messages[0], func() error { // The functions that read answers are the handler's.
			return w.limited(ctx, tx, func(ctx context.Context) error { return tx.SendBatch(ctx, &queue).Close() })
		})
	}
	if err != nil && record >= 0 {
		return &idem.EventError{Index: record, Err: err}
	}
	if err != nil {
		return fmt.Errorf("send what was queued: %w", err)
	}

	return nil
}

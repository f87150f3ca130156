package ops

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
	"github.com/nova-events/idempotent-consumer/internal/readable"
)

const (
	// changeRows is how many rows one transaction moves or deletes.
	changeRows = 5000

	// DefaultWatch is how long RenameConsumer, DeleteConsumer and Rebind watch whether the consumer runs.
	DefaultWatch = 5 * time.Second
)

// ChangeOptions change RenameConsumer, DeleteConsumer and Rebind. The zero value has defaults.
type ChangeOptions struct {
	// Watch is how long to watch whether the consumer runs, before anything is changed. A consumer that has
	// no checkpoints and commits nothing meanwhile is not noticed. Default 5 s (DefaultWatch).
	Watch time.Duration

	// Progress is called with numbers of rows. Rebind has none. Optional.
	Progress Progress
}

// consumerChange moves or deletes all rows of a consumer, which is closed meanwhile: it cannot be
// registered, and an owner whose checkpoint has gone is refused. Each step can be repeated, so that the
// whole can be after a crash.
type consumerChange struct {
	*Client

	consumer Consumer
	opts     ChangeOptions
	rows     db.ConsumerRowsRow
	done     int64
}

// change counts the rows of a consumer that is to be changed.
func (c *Client) change(ctx context.Context, consumer Consumer, opts ChangeOptions) (*consumerChange, error) {
	if opts.Watch < 0 {
		return nil, invalid("the time to watch is negative (%v)", opts.Watch)
	}
	if opts.Watch == 0 {
		opts.Watch = DefaultWatch
	}
	rows, err := c.queries.ConsumerRows(ctx, c.conn, consumer.id)

	return &consumerChange{Client: c, consumer: consumer, opts: opts, rows: rows}, c.failed(ctx, "count the rows", err)
}

// refuseRunning watches a consumer and returns an error if it does something.
func (c *consumerChange) refuseRunning(ctx context.Context) error {
	before, err := c.queries.ConsumerCheckpoints(ctx, c.conn, c.consumer.id)
	if err != nil {
		return c.failed(ctx, "read the checkpoints", err)
	}
	if !backoff.Sleep(ctx, c.opts.Watch) {
		return fmt.Errorf("nothing was changed: %w", context.Cause(ctx))
	}
	after, err := c.queries.ConsumerCheckpoints(ctx, c.conn, c.consumer.id)
	if err != nil {
		return c.failed(ctx, "read the checkpoints", err)
	}
	active, err := c.queries.ConsumerActivity(ctx, c.conn, db.ConsumerActivityParams{ID: c.consumer.id, SinceSeconds: c.rows.CountedSeconds, Events: c.rows.Events})
	if err != nil {
		return c.failed(ctx, "read the newest events", err)
	}
	if active.Events || active.DeadLetters || active.Leases || before != after {
		return refuse(ErrConsumerRuns, "the consumer %s runs: it has processed something within %v, or holds a lease; stop it first. Nothing was changed",
			readable.Name(c.consumer.Name), c.opts.Watch)
	}

	return nil
}

// open looks up a consumer that is not being renamed or deleted: what is changed of one that is would be lost.
func (c *Client) open(ctx context.Context, name string) (Consumer, error) {
	consumer, err := c.consumer(ctx, name)
	if err == nil && consumer.Closed != nil {
		err = c.busyWith(consumer)
	}

	return consumer, err
}

// busyWith is the error of a consumer that another call has closed.
func (c *Client) busyWith(consumer Consumer) error {
	return refuse(idem.ErrConsumerClosed, "the consumer %s is being %s; run that command again", readable.Name(consumer.Name), *consumer.Closed)
}

// inSteps works through the consumer's rows; step returns how many it has changed, and whether there are
// more.
func (c *consumerChange) inSteps(ctx context.Context, step func() (rows int64, more bool, err error)) (total int64, err error) {
	for more := true; more; {
		err := c.retry(ctx, func() error {
			rows, left, err := step()
			if err != nil {
				return err
			}
			more = left
			total += rows
			if c.done += rows; rows > 0 {
				c.opts.Progress.tell(c.done, max(c.done, c.rows.Events+c.rows.DeadLetters+c.rows.Leases+c.rows.Results))
			}

			return nil
		})
		if err != nil {
			return total, err
		}
	}

	return total, nil
}

// events works through the consumer's events in the order of their keys.
func (c *consumerChange) events(ctx context.Context, step func(after string) (rows int64, last string, err error)) (int64, error) {
	after := uuid.Nil.String()
	total, err := c.inSteps(ctx, func() (int64, bool, error) {
		rows, last, err := step(after)
		if err == nil {
			after = last
		}

		return rows, last != "", err
	})

	return total, c.failed(ctx, "change the events", err)
}

// all works through the consumer's rows of a kind, which step takes away.
func (c *consumerChange) all(ctx context.Context, what string, step func() (int64, error)) (int64, error) {
	total, err := c.inSteps(ctx, func() (int64, bool, error) {
		rows, err := step()

		return rows, rows > 0, err
	})

	return total, c.failed(ctx, "change the "+what, err)
}

// drop deletes the consumer itself, which must have no rows left.
func (c *consumerChange) drop(ctx context.Context, conn db.DBTX) error {
	n, err := c.queries.ConsumerDelete(ctx, conn, c.consumer.id)
	if err != nil {
		return c.failed(ctx, "delete the consumer", err)
	}
	if n == 0 {
		return refuse(ErrConsumerRuns, "the consumer %s runs: it has added rows meanwhile; stop it and run the same command again", readable.Name(c.consumer.Name))
	}

	return nil
}

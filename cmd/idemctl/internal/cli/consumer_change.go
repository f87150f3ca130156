package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/db"
)

// changeRows is how many rows one transaction moves or deletes.
const changeRows = 5000

// consumerChange moves or deletes all rows of a consumer, which is closed meanwhile: it cannot be
// registered, and an owner whose checkpoint has gone is refused. Each step can be repeated, so that the
// whole can be after a crash.
type consumerChange struct {
	store    *store
	consumer db.Consumer
	watch    time.Duration
	rows     db.ConsumerRowsRow
	done     int64
	bar      *progress
}

const watchDefault = 5 * time.Second

const runningHelp = `Stop the consumer first. The command watches it (--watch) and changes nothing if it does anything in
that time. From then on the consumer cannot be registered until the command has ended, and one that
runs on with checkpoints is refused. One that is idle and has no checkpoints is not noticed.

After a crash or a signal run the same command again: it goes on.`

func watchFlag(command *cobra.Command, watch *time.Duration) {
	command.Flags().DurationVar(watch, "watch", watchDefault, "how long to see whether the consumer runs")
}

// refuseRunning watches a consumer and returns an error if it does something.
func (c *consumerChange) refuseRunning(ctx context.Context) error {
	q, conn, id := c.store.queries, c.store.conn, c.consumer.ID
	before, err := q.ConsumerCheckpoints(ctx, conn, id)
	if err != nil {
		return fmt.Errorf("read the checkpoints: %w", err)
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("nothing was changed: %w", context.Cause(ctx))
	case <-time.After(c.watch):
	}
	after, err := q.ConsumerCheckpoints(ctx, conn, id)
	if err != nil {
		return fmt.Errorf("read the checkpoints: %w", err)
	}
	active, err := q.ConsumerActivity(ctx, conn, db.ConsumerActivityParams{ID: id, Since: c.rows.CountedAt})
	if err != nil {
		return fmt.Errorf("read the newest events: %w", err)
	}
	if active.Events || active.DeadLetters || before != after {
		return fmt.Errorf("the consumer %s runs: it has processed something within %v; stop it first. Nothing was changed", printable(c.consumer.Name), c.watch)
	}

	return nil
}

// count counts the consumer's rows.
func (c *consumerChange) count(ctx context.Context) (err error) {
	if c.rows, err = c.store.queries.ConsumerRows(ctx, c.store.conn, c.consumer.ID); err != nil {
		return fmt.Errorf("count the rows: %w", err)
	}

	return nil
}

// events works through the consumer's events in the order of their keys.
func (c *consumerChange) events(ctx context.Context, step func(after string) (rows int64, last string, err error)) (total int64, err error) {
	for after := uuid.Nil.String(); after != ""; {
		err := retry(ctx, func() error {
			rows, last, err := step(after)
			if err == nil {
				after = last
				total += rows
				c.progress(rows)
			}

			return err
		})
		if err != nil {
			return total, fmt.Errorf("change the events: %w", err)
		}
	}

	return total, nil
}

// letters works through the consumer's dead letters.
func (c *consumerChange) letters(ctx context.Context, step func() (int64, error)) (total int64, err error) {
	for rows := int64(1); rows > 0; {
		err := retry(ctx, func() (err error) {
			if rows, err = step(); err == nil {
				total += rows
				c.progress(rows)
			}

			return err
		})
		if err != nil {
			return total, fmt.Errorf("change the dead letters: %w", err)
		}
	}

	return total, nil
}

func (c *consumerChange) progress(rows int64) {
	c.done += rows
	c.bar.set(c.done, max(c.done, c.rows.Events+c.rows.DeadLetters))
}

// in runs a step in a transaction.
func (c *consumerChange) in(ctx context.Context, step func(conn db.DBTX) error) error {
	return pgx.BeginFunc(ctx, c.store.pool, func(tx pgx.Tx) error { //nolint:wrapcheck // The steps wrap theirs.
		return step(qualified{DBTX: tx, schema: c.store.schema})
	})
}

// drop deletes the consumer itself, which must have no rows left.
func (c *consumerChange) drop(ctx context.Context, conn db.DBTX) error {
	n, err := c.store.queries.ConsumerDelete(ctx, conn, c.consumer.ID)
	if err != nil {
		return fmt.Errorf("delete the consumer: %w", err)
	}
	if n == 0 {
		return fmt.Errorf("the consumer %s runs: it has added rows meanwhile; stop it and run the same command again", printable(c.consumer.Name))
	}

	return nil
}

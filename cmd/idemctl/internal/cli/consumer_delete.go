package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/db"
)

func newConsumerDelete(a *app) *cobra.Command {
	watch := watchDefault
	command := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a consumer with all that it remembers",
		Long: `Deletes a consumer with its events, checkpoints and dead letters, in transactions of 5,000 rows. It
counts them and asks first. If a service uses the name later, it starts from the beginning: events
that were processed are processed again when they come again.

` + runningHelp,
		Args: wants("NAME"),
		RunE: func(command *cobra.Command, args []string) error { return a.deleteConsumer(command, args[0], watch) },
	}
	watchFlag(command, &watch)
	a.yesFlag(command)

	return command
}

type deleteReport struct {
	Consumer    string `json:"consumer"`
	Events      int64  `json:"events"`
	Checkpoints int64  `json:"checkpoints"`
	DeadLetters int64  `json:"dead_letters"`
	Complete    bool   `json:"complete"`
}

func (r deleteReport) text() string {
	text := fmt.Sprintf("Deleted of %s: %s, %s, %s.\n", printable(r.Consumer),
		events(r.Events), plural(r.Checkpoints, "checkpoint"), plural(r.DeadLetters, "dead letter"))
	if !r.Complete {
		text += "Not all were deleted; run the same command again.\n"
	}

	return text
}

// deletion is why a consumer is closed that is being deleted.
const deletion = "deleted"

func (a *app) deleteConsumer(command *cobra.Command, name string, watch time.Duration) error {
	return a.withStore(command, func(ctx context.Context, s *store) error {
		consumer, err := s.consumer(ctx, name)
		if err != nil {
			return err
		}
		if consumer.Closed != nil && *consumer.Closed != deletion {
			return fmt.Errorf("the consumer %s is being %s; run that command again", printable(name), *consumer.Closed)
		}
		c := &consumerChange{store: s, consumer: consumer, watch: watch, bar: a.progress("deleting")}
		defer c.bar.end()
		if err := c.count(ctx); err != nil {
			return err
		}
		warning := fmt.Sprintf("%s will be forgotten: %s, %s, and %s (%s not resolved).", printable(name), events(c.rows.Events),
			plural(c.rows.Checkpoints, "checkpoint"), plural(c.rows.DeadLetters, "dead letter"), number(c.rows.Unresolved))
		if err := a.confirm(ctx, warning); err != nil {
			return err
		}
		if consumer.Closed == nil {
			if err := c.refuseRunning(ctx); err != nil {
				return err
			}
		}
		if err := c.closeForDeletion(ctx); err != nil {
			return err
		}
		r := deleteReport{Consumer: name}
		err = c.remove(ctx, &r)
		c.bar.end()
		r.Complete = err == nil

		return a.finish(r, err)
	})
}

// closeForDeletion keeps the consumer from being registered.
func (c *consumerChange) closeForDeletion(ctx context.Context) error {
	closed, err := c.store.queries.ConsumerClose(ctx, c.store.conn, db.ConsumerCloseParams{ID: c.consumer.ID, Closed: deletion})
	switch {
	case err != nil:
		return fmt.Errorf("close the consumer: %w", err)
	case closed == 0:
		return errors.New("somebody else has begun to change the consumer; nothing was changed")
	default:
		return nil
	}
}

// remove deletes all rows. The checkpoints go first: whoever owns them is refused from then on.
func (c *consumerChange) remove(ctx context.Context, r *deleteReport) error {
	q, s, id := c.store.queries, c.store, c.consumer.ID
	err := retry(ctx, func() (err error) {
		r.Checkpoints, err = q.CheckpointRemove(ctx, s.conn, id)

		return wrap("delete the checkpoints", err)
	})
	if err != nil {
		return err
	}
	r.Events, err = c.events(ctx, func(after string) (int64, string, error) {
		row, err := q.EventRemove(ctx, s.conn, db.EventRemoveParams{ID: id, After: after, Rows: changeRows})

		return row.Moved, row.Last, err //nolint:wrapcheck // The caller wraps it.
	})
	if err != nil {
		return err
	}
	r.DeadLetters, err = c.letters(ctx, func() (int64, error) {
		return q.DeadLetterRemove(ctx, s.conn, db.DeadLetterRemoveParams{ID: id, Rows: changeRows})
	})
	if err != nil {
		return err
	}

	return c.drop(ctx, s.conn)
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/idem"
)

func newConsumerRename(a *app) *cobra.Command {
	watch := watchDefault
	command := &cobra.Command{
		Use:   "rename OLD NEW",
		Short: "Give a consumer another name, with all that it remembers",
		Long: `Gives a consumer another name: its events, checkpoints, dead letters, retention and binding. The
id in all tables follows from the name, so all rows are moved, in transactions of 5,000. There must be
no consumer of the new name yet.

` + runningHelp,
		Example: `  idemctl consumer rename payments billing`,
		Args:    wants("OLD", "NEW"),
		RunE:    func(command *cobra.Command, args []string) error { return a.rename(command, args[0], args[1], watch) },
	}
	watchFlag(command, &watch)

	return command
}

type renameReport struct {
	Consumer    string `json:"consumer"`
	Previous    string `json:"previous_name"`
	Events      int64  `json:"events"`
	Checkpoints int64  `json:"checkpoints"`
	DeadLetters int64  `json:"dead_letters"`
	Complete    bool   `json:"complete"`
}

func (r renameReport) text() string {
	text := fmt.Sprintf("Moved from %s to %s: %s, %s, %s.\n", printable(r.Previous), printable(r.Consumer),
		events(r.Events), plural(r.Checkpoints, "checkpoint"), plural(r.DeadLetters, "dead letter"))
	if !r.Complete {
		text += "Not all were moved; run the same command again.\n"
	}

	return text
}

func (a *app) rename(command *cobra.Command, from, to string, watch time.Duration) error {
	return a.withStore(command, func(ctx context.Context, s *store) error {
		if _, err := idem.New(s.pool, idem.Config{Consumer: to, Schema: s.schema}); err != nil {
			return fail(exitUsage, "%w", err) // It judges the name.
		}
		if from == to {
			return fail(exitUsage, "both names are %s", printable(to))
		}
		consumer, err := s.consumer(ctx, from)
		if err != nil {
			return err
		}
		c := &consumerChange{store: s, consumer: consumer, watch: watch, bar: a.progress("moving")}
		defer c.bar.end()
		r := renameReport{Consumer: to, Previous: from}
		if err := c.count(ctx); err != nil {
			return err
		}
		target, err := c.openTarget(ctx, to)
		if err != nil {
			return err
		}
		err = c.moveTo(ctx, target, &r)
		c.bar.end()
		r.Complete = err == nil

		return a.finish(r, err)
	})
}

// openTarget closes both names, unless an earlier run did, and returns the new consumer.
func (c *consumerChange) openTarget(ctx context.Context, to string) (db.Consumer, error) {
	q, s := c.store.queries, c.store
	away, here := "renamed to "+printable(to), "renamed from "+printable(c.consumer.Name)
	target, err := q.ConsumerByName(ctx, s.conn, to)
	switch {
	case err == nil && c.consumer.Closed != nil && *c.consumer.Closed == away && target.Closed != nil && *target.Closed == here:
		return target, nil // A former run of this command did.
	case err == nil:
		return db.Consumer{}, fmt.Errorf("there is a consumer %s already; two cannot become one", printable(to))
	case !errors.Is(err, pgx.ErrNoRows):
		return db.Consumer{}, fmt.Errorf("look up the consumer: %w", err)
	case c.consumer.Closed != nil:
		return db.Consumer{}, fmt.Errorf("the consumer %s is being %s; run that command again", printable(c.consumer.Name), *c.consumer.Closed)
	}
	if err := c.refuseRunning(ctx); err != nil {
		return db.Consumer{}, err
	}
	err = c.in(ctx, func(conn db.DBTX) error {
		closed, err := q.ConsumerClose(ctx, conn, db.ConsumerCloseParams{ID: c.consumer.ID, Closed: away})
		if err != nil {
			return fmt.Errorf("close the consumer: %w", err)
		}
		made, err := q.ConsumerCopy(ctx, conn, db.ConsumerCopyParams{ID: c.consumer.ID, Name: to, Closed: here})
		if err != nil {
			return fmt.Errorf("make the consumer: %w", err)
		}
		if closed == 0 || made == 0 {
			return errors.New("somebody else has changed one of the two consumers; nothing was changed")
		}
		target, err = q.ConsumerByName(ctx, conn, to)

		return wrap("look up the consumer", err)
	})

	return target, err
}

// moveTo moves all rows. The checkpoints go first: whoever owns them is refused from then on.
func (c *consumerChange) moveTo(ctx context.Context, target db.Consumer, r *renameReport) error {
	q, s, id := c.store.queries, c.store, c.consumer.ID
	err := retry(ctx, func() (err error) {
		r.Checkpoints, err = q.CheckpointMove(ctx, s.conn, db.CheckpointMoveParams{ID: id, ToID: target.ID})

		return wrap("move the checkpoints", err)
	})
	if err != nil {
		return err
	}
	r.Events, err = c.events(ctx, func(after string) (int64, string, error) {
		row, err := q.EventMove(ctx, s.conn, db.EventMoveParams{ID: id, ToID: target.ID, After: after, Rows: changeRows})

		return row.Moved, row.Last, err //nolint:wrapcheck // The caller wraps it.
	})
	if err != nil {
		return err
	}
	r.DeadLetters, err = c.letters(ctx, func() (int64, error) {
		return q.DeadLetterMove(ctx, s.conn, db.DeadLetterMoveParams{ID: id, ToID: target.ID, Rows: changeRows})
	})
	if err != nil {
		return err
	}

	return c.in(ctx, func(conn db.DBTX) error {
		if err := c.drop(ctx, conn); err != nil {
			return err
		}
		_, err := q.ConsumerOpen(ctx, conn, target.ID)

		return wrap("open the consumer", err)
	})
}

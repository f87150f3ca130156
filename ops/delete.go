package ops

import (
	"context"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/readable"
)

// DeletePlan says what a consumer has that is to be deleted.
type DeletePlan struct {
	Consumer              string `json:"consumer"`
	Events                int64  `json:"events"`
	Checkpoints           int64  `json:"checkpoints"`
	DeadLetters           int64  `json:"dead_letters"`
	UnresolvedDeadLetters int64  `json:"unresolved_dead_letters"`
	Leases                int64  `json:"leases"`
}

// DeleteResult says what was deleted of a consumer.
type DeleteResult struct {
	Consumer    string `json:"consumer"`
	Events      int64  `json:"events"`
	Checkpoints int64  `json:"checkpoints"`
	DeadLetters int64  `json:"dead_letters"`
	Leases      int64  `json:"leases"`
	Complete    bool   `json:"complete"`
}

// deletion is why a consumer is closed that is being deleted.
const deletion = "deleted"

// PlanDelete counts what a consumer has. It reads all of its rows. The error is ErrUnknownConsumer, or
// idem.ErrConsumerClosed while the consumer is being renamed.
func (c *Client) PlanDelete(ctx context.Context, name string) (DeletePlan, error) {
	consumer, err := c.deletable(ctx, name)
	if err != nil {
		return DeletePlan{}, err
	}
	rows, err := c.queries.ConsumerRows(ctx, c.conn, consumer.id)
	plan := DeletePlan{
		Consumer: name, Events: rows.Events, Checkpoints: rows.Checkpoints, DeadLetters: rows.DeadLetters, UnresolvedDeadLetters: rows.Unresolved, Leases: rows.Leases,
	}

	return plan, c.failed(ctx, "count the rows", err)
}

// deletable looks up a consumer that nothing else is being done to.
func (c *Client) deletable(ctx context.Context, name string) (Consumer, error) {
	consumer, err := c.consumer(ctx, name)
	if err == nil && consumer.Closed != nil && *consumer.Closed != deletion {
		err = c.busyWith(consumer)
	}

	return consumer, err
}

// DeleteConsumer deletes the consumer of a plan with its events, checkpoints, dead letters and leases, in
// transactions of 5,000 rows. If a service uses the name later, it starts from the beginning: events that
// were processed are processed again when they come again.
//
// Stop the consumer first. After it was watched (ChangeOptions.Watch) and until the end, its name cannot be
// registered (idem.ErrConsumerClosed), and a service that still runs with checkpoints is refused. After an
// error or a crash, call it again to continue. Errors are those of PlanDelete, ErrConsumerRuns, and ErrChanged if the
// consumer has more than the plan has counted.
func (c *Client) DeleteConsumer(ctx context.Context, plan DeletePlan, opts ChangeOptions) (DeleteResult, error) {
	consumer, err := c.deletable(ctx, plan.Consumer)
	if err != nil {
		return DeleteResult{}, err
	}
	change, err := c.change(ctx, consumer, opts)
	if err != nil {
		return DeleteResult{}, err
	}
	if consumer.Closed == nil {
		if err := change.refuseRunning(ctx); err != nil {
			return DeleteResult{}, err
		}
		if err := change.refuseMore(plan); err != nil {
			return DeleteResult{}, err
		}
	}
	if err := change.closeForDeletion(ctx); err != nil {
		return DeleteResult{}, err
	}
	r := DeleteResult{Consumer: plan.Consumer}
	err = change.remove(ctx, &r)
	r.Complete = err == nil

	return r, err
}

// refuseMore returns an error if there is more of anything than was counted. Less is what cleanup leaves.
func (c *consumerChange) refuseMore(plan DeletePlan) error {
	for _, of := range []struct {
		what         string
		now, counted int64
	}{
		{"unresolved dead letters", c.rows.Unresolved, plan.UnresolvedDeadLetters}, {"dead letters", c.rows.DeadLetters, plan.DeadLetters},
		{"events", c.rows.Events, plan.Events}, {"checkpoints", c.rows.Checkpoints, plan.Checkpoints}, {"leases", c.rows.Leases, plan.Leases},
	} {
		if of.now > of.counted {
			return refuse(ErrChanged, "%s has more %s by now, %s instead of %s; nothing was changed",
				readable.Name(c.consumer.Name), of.what, readable.Number(of.now), readable.Number(of.counted))
		}
	}

	return nil
}

// closeForDeletion keeps the consumer from being registered.
func (c *consumerChange) closeForDeletion(ctx context.Context) error {
	closed, err := c.queries.ConsumerClose(ctx, c.conn, db.ConsumerCloseParams{ID: c.consumer.id, Closed: deletion})
	if err == nil && closed == 0 {
		return refuse(idem.ErrConsumerClosed, "somebody else has begun to change the consumer; nothing was changed")
	}

	return c.failed(ctx, "close the consumer", err)
}

// remove deletes all rows. The checkpoints and leases go first: whoever has them is refused from then on.
func (c *consumerChange) remove(ctx context.Context, r *DeleteResult) error {
	q, id := c.queries, c.consumer.id
	err := c.retry(ctx, func() (err error) {
		r.Checkpoints, err = q.CheckpointRemove(ctx, c.conn, id)

		return c.failed(ctx, "delete the checkpoints", err)
	})
	if err != nil {
		return err
	}
	r.Leases, err = c.all(ctx, "leases", func() (int64, error) {
		return q.LeaseRemove(ctx, c.conn, db.LeaseRemoveParams{ID: id, Rows: changeRows})
	})
	if err != nil {
		return err
	}
	r.Events, err = c.events(ctx, func(after string) (int64, string, error) {
		row, err := q.EventRemove(ctx, c.conn, db.EventRemoveParams{ID: id, After: after, Rows: changeRows})

		return row.Moved, row.Last, err
	})
	if err != nil {
		return err
	}
	_, err = c.all(ctx, "results", func() (int64, error) {
		return q.ResultRemove(ctx, c.conn, db.ResultRemoveParams{ID: id, Rows: changeRows})
	})
	if err != nil {
		return err
	}
	r.DeadLetters, err = c.all(ctx, "dead letters", func() (int64, error) {
		return q.DeadLetterRemove(ctx, c.conn, db.DeadLetterRemoveParams{ID: id, Rows: changeRows})
	})
	if err != nil {
		return err
	}

	return c.drop(ctx, c.conn)
}

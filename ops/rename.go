package ops

import (
	"context"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/readable"
)

// RenameResult says what was moved from one consumer to another.
type RenameResult struct {
	Consumer    string `json:"consumer"`
	Previous    string `json:"previous_name"`
	Events      int64  `json:"events"`
	Checkpoints int64  `json:"checkpoints"`
	DeadLetters int64  `json:"dead_letters"`
	Leases      int64  `json:"leases"`
	Complete    bool   `json:"complete"`
}

// Why a consumer is closed that is being renamed. The other name follows.
const (
	renamedTo   = "renamed to "
	renamedFrom = "renamed from "
)

// RenameConsumer gives a consumer another name: its events with their results, checkpoints, dead letters, leases, retention and
// binding.
// The id in all tables follows from the name, so all rows are moved, in transactions of 5,000.
//
// Stop the consumer first. After it was watched (ChangeOptions.Watch) and until the end, neither name can be
// registered (idem.ErrConsumerClosed), and a service that still runs with checkpoints is refused. After an
// error or a crash, call it again to continue. Errors are ErrUnknownConsumer, ErrConsumerExists (of the new
// name), ErrConsumerRuns, ErrInvalid, and idem.ErrConsumerClosed while another change is under way.
func (c *Client) RenameConsumer(ctx context.Context, from, to string, opts ChangeOptions) (RenameResult, error) {
	if _, err := idem.New(c.pool, idem.Config{Consumer: to, Schema: c.schema}); err != nil {
		return RenameResult{}, invalid("%w", err) // It judges the name.
	}
	if from == to {
		return RenameResult{}, invalid("both names are %s", readable.Name(to))
	}
	consumer, err := c.consumer(ctx, from)
	if err != nil {
		return RenameResult{}, err
	}
	change, err := c.change(ctx, consumer, opts)
	if err != nil {
		return RenameResult{}, err
	}
	target, err := change.openTarget(ctx, to)
	if err != nil {
		return RenameResult{}, err
	}
	r := RenameResult{Consumer: to, Previous: from}
	err = change.moveTo(ctx, target, &r)
	r.Complete = err == nil

	return r, err
}

// openTarget closes both names, unless an earlier call did, and returns the new consumer.
func (c *consumerChange) openTarget(ctx context.Context, to string) (Consumer, error) {
	away, here := renamedTo+readable.Name(to), renamedFrom+readable.Name(c.consumer.Name)
	target, found, err := c.lookUp(ctx, c.conn, to)
	switch {
	case err != nil:
		return Consumer{}, err
	case found && c.consumer.Closed != nil && *c.consumer.Closed == away && target.Closed != nil && *target.Closed == here:
		return target, nil
	case found:
		return Consumer{}, refuse(ErrConsumerExists, "there is a consumer %s already; two cannot become one", readable.Name(to))
	case c.consumer.Closed != nil:
		return Consumer{}, c.busyWith(c.consumer)
	}
	if err := c.refuseRunning(ctx); err != nil {
		return Consumer{}, err
	}
	err = c.in(ctx, func(conn db.DBTX) error {
		closed, err := c.queries.ConsumerClose(ctx, conn, db.ConsumerCloseParams{ID: c.consumer.id, Closed: away})
		if err != nil {
			return c.failed(ctx, "close the consumer", err)
		}
		made, err := c.queries.ConsumerCopy(ctx, conn, db.ConsumerCopyParams{ID: c.consumer.id, Name: to, Closed: here})
		if err != nil {
			return c.failed(ctx, "make the consumer", err)
		}
		if closed == 0 || made == 0 {
			return refuse(idem.ErrConsumerClosed, "somebody else has changed one of the two consumers; nothing was changed")
		}
		target, _, err = c.lookUp(ctx, conn, to)

		return err
	})

	return target, err
}

// moveOrRemove moves rows of a kind, and removes those that the other consumer has already. It returns how many it has moved.
func (c *consumerChange) moveOrRemove(ctx context.Context, what string, move, remove func() (int64, error)) (int64, error) {
	moved, err := c.all(ctx, what, move)
	if err == nil {
		_, err = c.all(ctx, what, remove)
	}

	return moved, err
}

// moveTo moves all rows. The checkpoints and leases go first: whoever has them is refused from then on.
func (c *consumerChange) moveTo(ctx context.Context, target Consumer, r *RenameResult) error {
	q, id := c.queries, c.consumer.id
	err := c.retry(ctx, func() (err error) {
		r.Checkpoints, err = q.CheckpointMove(ctx, c.conn, db.CheckpointMoveParams{ID: id, ToID: target.id})

		return c.failed(ctx, "move the checkpoints", err)
	})
	if err != nil {
		return err
	}
	r.Leases, err = c.moveOrRemove(ctx, "leases", func() (int64, error) {
		return q.LeaseMove(ctx, c.conn, db.LeaseMoveParams{ID: id, ToID: target.id, Rows: changeRows})
	}, func() (int64, error) {
		return q.LeaseRemove(ctx, c.conn, db.LeaseRemoveParams{ID: id, Rows: changeRows})
	})
	if err != nil {
		return err
	}
	r.Events, err = c.events(ctx, func(after string) (int64, string, error) {
		row, err := q.EventMove(ctx, c.conn, db.EventMoveParams{ID: id, ToID: target.id, After: after, Rows: changeRows})

		return row.Moved, row.Last, err
	})
	if err != nil {
		return err
	}
	_, err = c.moveOrRemove(ctx, "results", func() (int64, error) {
		return q.ResultMove(ctx, c.conn, db.ResultMoveParams{ID: id, ToID: target.id, Rows: changeRows})
	}, func() (int64, error) {
		return q.ResultRemove(ctx, c.conn, db.ResultRemoveParams{ID: id, Rows: changeRows})
	})
	if err != nil {
		return err
	}
	r.DeadLetters, err = c.all(ctx, "dead letters", func() (int64, error) {
		return q.DeadLetterMove(ctx, c.conn, db.DeadLetterMoveParams{ID: id, ToID: target.id, Rows: changeRows})
	})
	if err != nil {
		return err
	}

	return c.in(ctx, func(conn db.DBTX) error {
		if err := c.drop(ctx, conn); err != nil {
			return err
		}
		_, err := q.ConsumerOpen(ctx, conn, target.id)

		return c.failed(ctx, "open the consumer", err)
	})
}

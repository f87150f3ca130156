package ops

import (
	"context"
	"time"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/internal/readable"
	"github.com/nova-events/idempotent-consumer/internal/tables"
)

// RetentionPlan is another retention for a consumer.
type RetentionPlan struct {
	Consumer     string  `json:"consumer"`
	Retention    Seconds `json:"retention_seconds"`
	Previous     Seconds `json:"previous_retention_seconds"`
	NewlyExpired int64   `json:"newly_expired"` // events that would not have expired yet
}

// PlanRetention returns what another retention would do. If it is shorter, it reads all of the
// consumer's events to count those that would expire. The error is idem.ErrConsumerClosed while the consumer is being
// renamed or deleted.
func (c *Client) PlanRetention(ctx context.Context, name string, retention time.Duration) (RetentionPlan, error) {
	if err := checkRetention(retention); err != nil {
		return RetentionPlan{}, err
	}
	consumer, err := c.open(ctx, name)
	if err != nil {
		return RetentionPlan{}, err
	}
	change := RetentionPlan{Consumer: name, Retention: Seconds(retention), Previous: consumer.Retention}
	if change.Retention < change.Previous {
		change.NewlyExpired, err = c.newlyExpired(ctx, consumer, retention)
	}

	return change, err
}

// newlyExpired counts the events that are expired by another retention but not by today's.
func (c *Client) newlyExpired(ctx context.Context, consumer Consumer, retention time.Duration) (int64, error) {
	var counts [2]int64
	for i, maxAge := range []time.Duration{retention, consumer.Retention.Duration()} {
		var err error
		counts[i], err = c.queries.EventCountOlder(ctx, c.conn, db.EventCountOlderParams{ConsumerID: consumer.id, MaxAge: maxAge})
		if err != nil {
			return 0, c.failed(ctx, "count the events that would expire", err)
		}
	}

	return max(0, counts[0]-counts[1]), nil
}

// SetRetention does what PlanRetention has planned. The next cleanup uses the new retention; what is
// forgotten already stays forgotten. Services that configure another retention are refused when they next
// start. The error wraps ErrChanged if the retention is not RetentionPlan.Previous any more, unless that is 0: other events would
// expire than were counted.
func (c *Client) SetRetention(ctx context.Context, plan RetentionPlan) error {
	if err := checkRetention(plan.Retention.Duration()); err != nil {
		return err
	}
	if !tables.IsText(plan.Consumer) {
		_, err := c.consumer(ctx, plan.Consumer) // There is none.

		return err
	}
	n, err := c.queries.ConsumerSetRetention(ctx, c.conn, db.ConsumerSetRetentionParams{
		Name: plan.Consumer, Retention: plan.Retention.Duration(), Previous: plan.Previous.Duration(),
	})
	if err != nil || n > 0 {
		return c.failed(ctx, "set the retention", err)
	}
	consumer, err := c.open(ctx, plan.Consumer)
	if err != nil {
		return err
	}

	return refuse(ErrChanged, "somebody has set the retention of %s to %s meanwhile; nothing was changed",
		readable.Name(plan.Consumer), readable.Duration(consumer.Retention.Duration()))
}

func checkRetention(retention time.Duration) error {
	switch {
	case retention <= 0:
		return invalid("the retention is not positive (%v)", retention)
	case retention%time.Microsecond != 0:
		return invalid("the retention %v is finer than PostgreSQL's microseconds", retention)
	default:
		return nil
	}
}

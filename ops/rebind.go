package ops

import (
	"cmp"
	"context"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/internal/readable"
)

// RebindPlan is a consumer that belongs to another Kafka group.
type RebindPlan struct {
	Consumer        string  `json:"consumer"`
	Group           *string `json:"group"` // nil: the next one that comes
	Cluster         *string `json:"cluster"`
	PreviousGroup   *string `json:"previous_group"` // nil: none
	PreviousCluster *string `json:"previous_cluster"`
}

// PlanRebind returns the group that a consumer belongs to, before it is bound to another one. Two empty
// names mean the next group that uses the consumer. The error is idem.ErrConsumerClosed while it is being renamed or
// deleted.
func (c *Client) PlanRebind(ctx context.Context, name, cluster, group string) (RebindPlan, error) {
	if (cluster == "") != (group == "") {
		return RebindPlan{}, invalid("give a group and its cluster, or neither for the next group that comes")
	}
	if err := cmp.Or(checkText("the group", group), checkText("the cluster", cluster)); err != nil {
		return RebindPlan{}, err
	}
	consumer, err := c.open(ctx, name)
	if err != nil {
		return RebindPlan{}, err
	}
	plan := RebindPlan{Consumer: name, PreviousGroup: consumer.Group, PreviousCluster: consumer.Cluster}
	if group != "" {
		plan.Group, plan.Cluster = &group, &cluster
	}

	return plan, nil
}

// Rebind does what PlanRebind has planned. Stop the former group first: if it still runs, it and the
// next group each process only a part of the events. The error is ErrConsumerRuns if the consumer processes
// something while it is watched (ChangeOptions.Watch). It wraps ErrChanged if the consumer does not belong to the plan's previous group any more.
func (c *Client) Rebind(ctx context.Context, plan RebindPlan, opts ChangeOptions) error {
	consumer, err := c.consumer(ctx, plan.Consumer)
	if err != nil {
		return err
	}
	change, err := c.change(ctx, consumer, opts)
	if err != nil {
		return err
	}
	if err := change.refuseRunning(ctx); err != nil {
		return err
	}
	n, err := c.queries.ConsumerRebind(ctx, c.conn, db.ConsumerRebindParams{
		ID: consumer.id, BoundCluster: plan.Cluster, BoundGroup: plan.Group, PreviousCluster: text(plan.PreviousCluster), PreviousGroup: text(plan.PreviousGroup),
	})
	if err != nil || n > 0 {
		return c.failed(ctx, "bind the consumer", err)
	}
	now, err := c.open(ctx, plan.Consumer)
	if err != nil {
		return err
	}
	belongs := "no group"
	if now.Group != nil {
		belongs = readable.Name(*now.Group) + " of cluster " + readable.Name(text(now.Cluster))
	}

	return refuse(ErrChanged, "%s belongs to %s by now; nothing was changed", readable.Name(plan.Consumer), belongs)
}

package ops

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/nova-events/idempotent-consumer/idem"
)

// CleanupResult says what a cleanup has forgotten.
type CleanupResult struct {
	Deleted     int64          `json:"deleted"`
	Consumers   []DeletedCount `json:"consumers"`
	DeadLetters int64          `json:"dead_letters"` // resolved ones, removed
	Leases      int64          `json:"leases"`       // removed, because nobody has come back to their events
	Batches     int            `json:"batches"`
	Elapsed     Seconds        `json:"elapsed_seconds"`
	Complete    bool           `json:"complete"`
}

// DeletedCount is the part of a consumer.
type DeletedCount struct {
	Consumer string `json:"consumer"`
	Deleted  int64  `json:"deleted"`
}

// Cleanup forgets the events of all consumers that are older than their consumer's retention, as a pass of
// idem.Cleaner does. Progress is called with numbers of blocks of the table. Only one process cleans up at
// a time: if another one does, the error wraps ErrBusy and names its session.
func (c *Client) Cleanup(ctx context.Context, progress Progress) (CleanupResult, error) {
	cleaner, err := idem.NewCleaner(c.pool, idem.CleanerConfig{
		Schema: c.schema, Logger: c.log,
		Progress: func(p idem.CleanupProgress) { progress.tell(p.BlocksDone, p.BlocksTotal) },
	})
	if err != nil {
		return CleanupResult{}, fmt.Errorf("make a cleaner: %w", err)
	}
	done, err := cleaner.Clean(ctx)
	r := CleanupResult{
		Deleted: done.Deleted, Consumers: []DeletedCount{}, DeadLetters: done.DeadLetters, Leases: done.Leases, Batches: done.Batches,
		Elapsed: Seconds(done.Elapsed), Complete: done.Complete,
	}
	for _, name := range slices.Sorted(maps.Keys(done.Consumers)) {
		r.Consumers = append(r.Consumers, DeletedCount{Consumer: name, Deleted: done.Consumers[name]})
	}
	switch {
	case err != nil:
		return r, fmt.Errorf("clean up: %w", err)
	case !done.Complete:
		session := ""
		if done.Leader != "" {
			session = " in the session " + done.Leader
		}

		return r, refuse(ErrBusy, "another process is cleaning up%s; it does the work, try again later if you want to see it done", session)
	default:
		return r, nil
	}
}

// CleanupPlan says what Cleanup would forget.
type CleanupPlan struct {
	Expired     int64          `json:"expired"`
	Consumers   []ExpiredCount `json:"consumers"`
	DeadLetters int64          `json:"dead_letters"` // resolved ones
	Leases      int64          `json:"leases"`       // to whose events nobody has come back
}

// ExpiredCount is the part of a consumer.
type ExpiredCount struct {
	Consumer string `json:"consumer"`
	Expired  int64  `json:"expired"`
}

// PlanCleanup counts what Cleanup would forget now. It reads the whole tables.
func (c *Client) PlanCleanup(ctx context.Context) (CleanupPlan, error) {
	plan := CleanupPlan{Consumers: []ExpiredCount{}}
	rows, err := c.queries.EventCountExpired(ctx, c.conn)
	for _, row := range rows {
		plan.Expired += row.Expired
		plan.Consumers = append(plan.Consumers, ExpiredCount{Consumer: row.Consumer, Expired: row.Expired})
	}
	if err == nil {
		plan.DeadLetters, err = c.queries.DeadLetterCountExpired(ctx, c.conn)
	}
	if err == nil {
		plan.Leases, err = c.queries.LeaseCountExpired(ctx, c.conn)
	}

	return plan, c.failed(ctx, "count what is expired", err)
}

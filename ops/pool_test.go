package ops_test

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/ops"
)

// The pool of a service is good enough: with its query execution mode, its search_path, and sessions that
// write times and intervals in their own way. Rows with times that JSON cannot hold hide no others.
func TestEveryPoolWillDo(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.store(t, 3)
			b.exec(t, `UPDATE idem.consumers SET created_at = 'infinity', retention = '36 hours 30 seconds'`)
			b.exec(t, `UPDATE idem.dead_letters SET failed_at = '-infinity' WHERE record_offset = 2`)
			b.exec(t, `INSERT INTO idem.checkpoints (consumer_id, topic, partition, next_offset, acquired_at) SELECT id, 'orders', 3, 20, '20000-01-01' FROM idem.consumers`)
			b.exec(t, `INSERT INTO idem.processed_events (processed_at, consumer_id, key, claim_id, event_id, metadata)
				SELECT now() - interval '1 day', id, idem.event_key('e'), gen_random_uuid(), 'e', '{"topic": "orders", "partition": 3, "offset": 7}' FROM idem.consumers`)
			all(t, newClient(t, b.db.OwnerPool(t, pgtest.MaxConns(2), pgtest.Hostile(), pgtest.ExecMode(mode), styles)))
			if got := b.states(t); got != "replay,discarded,discarded,replay" {
				t.Errorf("states: %s", got)
			}
		})
	}
}

// all calls what reads or writes times and intervals, and what changes dead letters.
func all(t *testing.T, c *ops.Client) {
	t.Helper()
	ctx := t.Context()
	if err := c.Check(ctx); err != nil {
		t.Fatal(err)
	}
	last := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	consumers, err := c.Consumers(ctx)
	if err != nil || len(consumers) != 1 || consumers[0].Retention.Duration() != 36*time.Hour+30*time.Second || consumers[0].CreatedAt != last {
		t.Errorf("consumers: %+v, %v", consumers, err)
	}
	checkpoints, err := c.Checkpoints(ctx, "orders", "orders")
	if err != nil || len(checkpoints) != 1 || checkpoints[0].AcquiredAt != last {
		t.Errorf("checkpoints: %+v, %v", checkpoints, err)
	}
	status, err := c.ExactStatus(ctx)
	if err != nil || status.Events != 4 || status.UnresolvedDeadLetters != 3 || time.Since(status.ReadAt).Abs() > time.Hour || time.Since(*status.Consumers[0].Oldest) < 23*time.Hour {
		t.Errorf("status: %+v, %v", status, err)
	}
	list, err := c.DeadLetters(ctx, ops.DeadLetterFilter{Consumer: "orders", Topic: "orders", Error: "ref", MaxAge: time.Hour, Since: time.Now().Add(-time.Hour)})
	if err != nil || len(list) != 2 || time.Since(*list[0].FailedAt).Abs() > time.Hour || list[0].RecordTime != nil {
		t.Errorf("dead letters: %+v, %v", list, err)
	}
	whole, err := c.DeadLetter(ctx, list[0].ShortID)
	if err != nil || whole.ID != list[0].ID || string(whole.Value) != "v" || *whole.KeyText != "k" {
		t.Errorf("dead letter: %+v, %v", whole, err)
	}
	plan, err := c.PlanDiscard(ctx, ops.DeadLetterChoice{Filter: ops.DeadLetterFilter{Topic: "orders"}})
	if err != nil || len(plan.DeadLetters) != 3 {
		t.Errorf("plan: %+v, %v", plan, err)
	}
	plan.DeadLetters = plan.DeadLetters[1:]
	if done, err := c.DiscardDeadLetters(ctx, plan, nil); err != nil || done.Changed != 2 || !done.Complete {
		t.Errorf("discarded: %+v, %v", done, err)
	}
	plan, err = c.PlanReplay(ctx, ops.DeadLetterChoice{All: true})
	if err != nil || len(plan.DeadLetters) != 1 {
		t.Errorf("plan: %+v, %v", plan, err)
	}
	if done, err := c.ReplayDeadLetters(ctx, plan, nil); err != nil || done.Changed != 1 {
		t.Errorf("to be replayed: %+v, %v", done, err)
	}
	place, err := c.PlanReprocess(ctx, "orders", "e")
	if err != nil || place.Offset != 7 {
		t.Errorf("place: %+v, %v", place, err)
	}
	if _, err := c.Reprocess(ctx, place); err != nil {
		t.Error(err)
	}
	retention, err := c.PlanRetention(ctx, "orders", 12*time.Hour)
	if err != nil || retention.NewlyExpired != 1 {
		t.Errorf("retention: %+v, %v", retention, err)
	}
	if err := c.SetRetention(ctx, retention); err != nil {
		t.Error(err)
	}
	if cleanup, err := c.PlanCleanup(ctx); err != nil || cleanup.Expired != 1 {
		t.Errorf("cleanup: %+v, %v", cleanup, err)
	}
	var told []string
	renamed, err := c.RenameConsumer(ctx, "orders", "sales", ops.ChangeOptions{Watch: 1, Progress: func(done, _ int64) {
		told = append(told, strings.Repeat("#", int(done)))
	}})
	if err != nil || !renamed.Complete || renamed.Events != 4 || renamed.DeadLetters != 4 || len(told) == 0 || told[len(told)-1] != "########" {
		t.Errorf("renamed: %+v, %v, progress %v", renamed, err, told)
	}
}

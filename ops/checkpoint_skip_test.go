package ops_test

import (
	"strings"
	"testing"

	"github.com/nova-events/idempotent-consumer/ops"
)

// Between the plan and the act the checkpoint may move: then nothing is skipped. So it is when a call whose answer was
// lost is made again.
func TestSkipOfARecordThatIsNotTheNext(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, `INSERT INTO idem.checkpoints (consumer_id, topic, partition, next_offset, owner_token)
		VALUES (idem.consumer_id('orders'), 'orders', 3, 7, gen_random_uuid())`)
	target := ops.SkipTarget{RecordPlace: ops.RecordPlace{Consumer: "orders", Topic: "orders", Partition: 3, Offset: 7}}
	plan, err := b.client.PlanSkip(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := b.client.Skip(t.Context(), plan); err != nil || r.NextOffset != 8 {
		t.Fatalf("%+v, %v", r, err)
	}
	_, err = b.client.Skip(t.Context(), plan)
	wantErr(t, "again", err, ops.ErrNotNext)
	_, err = b.client.PlanSkip(t.Context(), target)
	wantErr(t, "a plan", err, ops.ErrNotNext)
	plan.Reason = strings.Repeat("x", 1001)
	_, err = b.client.Skip(t.Context(), plan)
	wantErr(t, "a long reason", err, ops.ErrInvalid)
	if got := b.one(t, `SELECT next_offset || ' ' || (SELECT count(*) FROM idem.dead_letters) FROM idem.checkpoints`); got != "8 1" {
		t.Errorf("checkpoint and dead letters are %s, want 8 1", got)
	}
}

package ops_test

import (
	"fmt"
	"testing"

	"github.com/nova-events/idempotent-consumer/ops"
)

// A consumer that runs moves its checkpoint while somebody thinks about the plan. Records that were to be left out must not be
// processed a second time, nor others be left out that were to be processed again.
func TestResetGoesWhereThePlanSays(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, `INSERT INTO idem.checkpoints (consumer_id, topic, partition, next_offset) SELECT idem.consumer_id('orders'), 'orders', n, 100 FROM generate_series(0, 1) n`)
	for _, c := range []struct {
		to, moved int64
		want      error
	}{
		{to: 150, moved: 120},
		{to: 150, moved: 200, want: ops.ErrChanged},
		{to: 90, moved: 120},
		{to: 90, moved: 80, want: ops.ErrChanged},
		{to: 100, moved: 101, want: ops.ErrChanged},
	} {
		b.exec(t, `UPDATE idem.checkpoints SET next_offset = 100`)
		plan, err := b.client.PlanReset(t.Context(), ops.CheckpointTarget{Consumer: "orders", Topic: "orders", NextOffset: c.to})
		if err != nil {
			t.Fatal(err)
		}
		b.exec(t, fmt.Sprintf(`UPDATE idem.checkpoints SET next_offset = %d WHERE partition = 1`, c.moved))
		want := fmt.Sprint("100 ", c.moved)
		if c.want == nil {
			want = fmt.Sprint(c.to, " ", c.to)
		}
		_, err = b.client.ResetCheckpoints(t.Context(), plan)
		wantErr(t, fmt.Sprintf("%+v", c), err, c.want)
		if got := b.one(t, `SELECT string_agg(next_offset::text, ' ' ORDER BY partition) FROM idem.checkpoints`); got != want {
			t.Errorf("%+v: the checkpoints are at %s, want %s", c, got, want)
		}
	}

	plan, err := b.client.PlanReset(t.Context(), ops.CheckpointTarget{Consumer: "orders", Topic: "orders", NextOffset: 1})
	if err != nil {
		t.Fatal(err)
	}
	b.exec(t, `INSERT INTO idem.checkpoints (consumer_id, topic, partition, next_offset) VALUES (idem.consumer_id('orders'), 'orders', 2, 0)`)
	_, err = b.client.ResetCheckpoints(t.Context(), plan)
	wantErr(t, "with a new partition", err, ops.ErrChanged)
	if got := b.one(t, `SELECT next_offset::text FROM idem.checkpoints WHERE partition = 2`); got != "0" {
		t.Errorf("its checkpoint is at %s", got)
	}
	b.exec(t, `DELETE FROM idem.checkpoints`)
	_, err = b.client.ResetCheckpoints(t.Context(), plan)
	wantErr(t, "without checkpoints", err, ops.ErrNoCheckpoint)
}

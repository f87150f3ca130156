package idem_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/nova-events/idempotent-consumer/idem"
)

// An operator renames the consumer of an owner that runs: its checkpoint belongs to another name then, and
// nothing of the owner takes effect any more.
func TestOwnerOfARenamedConsumerIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	partition := idem.Partition{Topic: "orders"}
	owner, err := b.guard.Acquire(t.Context(), partition, idem.AcquireOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := owner.Process(t.Context(), idem.Event{ByCheckpoint: true, Offset: 0}, effect("before")); err != nil {
		t.Fatal(err)
	}
	b.exec(t, `UPDATE idem.consumers SET closed = 'renamed to new'`)
	b.exec(t, `UPDATE idem.checkpoints SET consumer_id = idem.consumer_id('new')`)

	if _, err := owner.Process(t.Context(), idem.Event{ByCheckpoint: true, Offset: 1}, effect("after")); !errors.Is(err, idem.ErrCheckpointGone) || !strings.Contains(err.Error(), "renamed or deleted") {
		t.Errorf("process: %v", err)
	}
	if _, err := b.guard.Acquire(t.Context(), partition, idem.AcquireOptions{}); !errors.Is(err, idem.ErrConsumerClosed) {
		t.Errorf("acquire: %v", err)
	}
	if n := b.effects(t, "after"); n != 0 {
		t.Errorf("%d effects", n)
	}
}

package engine

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
)

// What is stored of a record that has failed in a batch is what it would be alone.
func TestErrorOfARecordNamesNoPlace(t *testing.T) {
	t.Parallel()
	cause := errors.New("no such account")
	for want, err := range map[string]error{
		"idem: handler failed: no such account":             &idem.HandlerError{Err: &idem.EventError{Index: 1, Err: &idem.EventError{Index: 3, Err: cause}}},
		"idem: handler failed: event 1 of the batch: <nil>": &idem.HandlerError{Err: &idem.EventError{Index: 1}},
	} {
		if got := ofRecord(err); got.Error() != want || !errors.As(got, new(*idem.HandlerError)) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// A transaction has so many records, and so many bytes of keys and values. A record that is larger than that stands alone, and the
// mode decides whether anybody is asked for an event id.
func TestBatchesLimitBytes(t *testing.T) {
	t.Parallel()
	w := &worker{config: &consume.Config{
		Mode: consume.ByCheckpoint, Batch: consume.BatchConfig{Size: 3, Bytes: 10},
		HandleBatch: func(context.Context, pgx.Tx, []consume.Message) error { return nil },
	}}
	for _, c := range []struct {
		want  int
		sizes []int // of keys and of values
	}{{2, []int{1, 3, 2, 4, 0, 1}}, {3, []int{1, 3, 2, 4, 0, 0, 0, 0}}, {3, make([]int, 8)}, {0, []int{1, 10, 0, 0}}} {
		var records []consume.Record
		for sizes := range slices.Chunk(c.sizes, 2) {
			records = append(records, consume.Record{Key: make([]byte, sizes[0]), Value: make([]byte, sizes[1])})
		}
		if got := len(w.gather(records)); got != c.want {
			t.Errorf("%d of the records of %v bytes are one batch, want %d", got, c.sizes, c.want)
		}
	}
}

// Transactions grow by doubling up to what takes 20 ms, shrink at once when records take longer, and begin anew after a conflict.
func TestPace(t *testing.T) {
	t.Parallel()
	var p pace
	for i, step := range []struct {
		each time.Duration
		want int
	}{{0, 2}, {0, 4}, {0, 8}, {time.Millisecond, 16}, {time.Millisecond, 20}, {5 * time.Millisecond, 4}, {time.Second, 1}, {time.Millisecond, 2}} {
		n := p.most()
		p.took(n, time.Duration(n)*step.each)
		if got := p.most(); got != step.want {
			t.Errorf("step %d: %d records, want %d", i, got, step.want)
		}
	}
	if p.alone(); p.most() != 1 {
		t.Errorf("%d records after a conflict", p.most())
	}
	p.took(1, 0)
	if p.took(1, 0); p.most() != 4 {
		t.Errorf("%d records after two that were quick", p.most())
	}
}

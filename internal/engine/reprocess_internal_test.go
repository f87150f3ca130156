package engine

import (
	"errors"
	"testing"

	"github.com/nova-events/idempotent-consumer/consume"
)

// A record that is asked for is that of its offset: if it was compacted away, the next one is not taken for it. Nothing of the answer is
// kept.
func TestRequestedRecordHasItsOffset(t *testing.T) {
	t.Parallel()
	_, w := newPausable(consume.Hooks{})
	released := 0
	w.source = &still{batch: Batch{Records: []consume.Record{{Offset: 4}, {Offset: 6}}, Release: func() { released++ }}}
	for offset, want := range map[int64]error{4: nil, 5: errNotInLog, 6: nil} {
		record, err := w.fetchOne(t.Context(), offset)
		if !errors.Is(err, want) || err == nil && record.Offset != offset {
			t.Errorf("offset %d: the record at %d, %v; want %v", offset, record.Offset, err, want)
		}
	}
	if released != 3 {
		t.Errorf("%d of 3 answers are released", released)
	}
}

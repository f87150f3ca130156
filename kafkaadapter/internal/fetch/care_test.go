package fetch

import (
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/nova-events/idempotent-consumer/internal/engine"

	"github.com/segmentio/kafka-go"
)

func TestCare(t *testing.T) {
	t.Parallel()
	first, second := testBatch{base: 4, values: []string{"a", "b"}}, testBatch{base: 6, values: []string{"c"}}
	body := testResponse(nil, 0, encodeAll(t, first, second))
	for care, want := range map[engine.Care]string{engine.DecodeAll: "5:b 6:c", engine.DecodeFirst: "5:b"} {
		request := Request{Offset: 5, Before: func() (engine.Care, error) { return care, nil }}
		if r, err := decode(request, 11, slices.Clone(body)); err != nil || values(r) != want {
			t.Errorf("care %d: %v, %v; want %s", care, r, err, want)
		}
	}

	_, err := decode(Request{Offset: 5, Before: func() (engine.Care, error) { return engine.DecodeNothing, nil }}, 11, body)
	var bad *UnreadableError
	if !errors.As(err, &bad) || !errors.Is(err, engine.ErrDeadly) || bad.Damaged || bad.First != 4 || bad.Last != 5 || !slices.Equal(bad.Raw, first.encode(t)) {
		t.Errorf("got %v, %+v", err, bad)
	}
}

func TestBeforeIsCalledOnlyForRecords(t *testing.T) {
	t.Parallel()
	request := Request{Before: func() (engine.Care, error) { return 0, io.ErrClosedPipe }}
	for name, body := range map[string][]byte{"none": testResponse(nil, 0, nil), "an error": testResponse(nil, kafka.NotLeaderForPartition, nil)} {
		if _, err := decode(request, 11, body); errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("%s: it is called", name)
		}
	}
	if _, err := decode(request, 11, testResponse(nil, 0, testBatch{values: []string{"a"}}.encode(t))); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("records: %v", err)
	}
}

package engine

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
)

// A record that is asked for is that of its offset: if it was compacted away, the next one is not taken for it. Nothing of the answer is
// kept.
func TestRequestedRecordHasItsOffset(t *testing.T) {
	t.Parallel()
	_, w := newPausable(consume.Hooks{})
	released := 0
	w.source = &still{batch: Batch{Records: []consume.Record{{Offset: 4}, {Offset: 6}}, Next: 7, Release: func() { released++ }}}
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

// recreated is a source of a topic that has become another one.
type recreated struct{ still }

func (r *recreated) CheckTopic(context.Context) error { return ErrOtherTopic }

// A client that fetches by the topic's name may have read from the next topic of the name, and nobody has noticed yet.
func TestRequestedRecordIsOfItsTopic(t *testing.T) {
	t.Parallel()
	_, w := newPausable(consume.Hooks{})
	w.source = &recreated{still{batch: Batch{Records: []consume.Record{{Offset: 4}}, Next: 5, Release: func() {}}}}
	w.partition.TopicID = uuid.UUID{1}
	for of, want := range map[uuid.UUID]error{{}: nil, {1}: ErrOtherTopic, {2}: errNotInLog} {
		_, err := w.requested(t.Context(), idem.DeadLetter{Offset: 4, Partition: idem.Partition{TopicID: of}})
		if !errors.Is(err, want) || errors.Is(err, errNotInLog) != errors.Is(want, errNotInLog) {
			t.Errorf("asked for in the topic %v: %v; want %v", of, err, want)
		}
	}
}

// logged is a source whose log has ends, and that answers every fetch with the same batch.
type logged struct {
	still

	ends Ends
	err  error // in place of the ends
}

func (l *logged) Ends(_ context.Context, _ string, partitions ...int32) (map[int32]Ends, error) {
	return map[int32]Ends{partitions[0]: l.ends}, l.err
}

// An answer without records says that the log lacks the one that was asked for only if it was read over, or the log's ends say so. A
// broker also sends none to a client over its quota, behind an open transaction, if others of the answer have taken its room, and when it
// was just elected and does not know yet how far its log is replicated. Each of those ended the request, and the record was in Kafka.
func TestAnswerWithoutRecordsIsNoProof(t *testing.T) {
	t.Parallel()
	whole, unknown := Ends{First: 0, Last: 10}, errors.New("the leader does not know yet")
	for name, c := range map[string]struct {
		batch Batch
		ends  Ends
		err   error
		want  error
	}{
		"read over":                      {Batch{Next: 6, HighWatermark: 10, LastStable: 10}, whole, nil, errNotInLog},
		"read over, throttled":           {Batch{Next: 6, HighWatermark: 10, LastStable: 10, Throttle: time.Second}, whole, nil, errNotInLog},
		"over quota, nothing known":      {Batch{Next: 5, Throttle: time.Second}, whole, nil, errThrottled},
		"over quota, the ends as before": {Batch{Next: 5, HighWatermark: 10, LastStable: 10, Throttle: time.Second}, whole, nil, errThrottled},
		"over quota, and not in the log": {Batch{Next: 5, Throttle: time.Second}, Ends{Last: 5}, nil, errNotInLog},
		"an open transaction":            {Batch{Next: 5, HighWatermark: 10, LastStable: 5}, whole, nil, consume.ErrOpenTransaction},
		"no room":                        {Batch{Next: 5, HighWatermark: 10, LastStable: 10}, whole, nil, errNothingSent},
		"a leader that lags":             {Batch{Next: 5, HighWatermark: 4, LastStable: 4}, Ends{}, unknown, unknown},
		"a leader that has caught up":    {Batch{Next: 5, HighWatermark: 4, LastStable: 4}, whole, nil, errNothingSent},
		"behind the end":                 {Batch{Next: 5, HighWatermark: 5, LastStable: 5}, Ends{Last: 5}, nil, errNotInLog},
		"expired meanwhile":              {Batch{Next: 5, Throttle: time.Second}, Ends{First: 6, Last: 10}, nil, errNotInLog},
	} {
		_, w := newPausable(consume.Hooks{})
		c.batch.Release = func() {}
		w.source = &logged{still: still{batch: c.batch}, ends: c.ends, err: c.err}
		_, err := w.fetchOne(t.Context(), 5)
		if !errors.Is(err, c.want) || errors.Is(err, errNotInLog) != errors.Is(c.want, errNotInLog) {
			t.Errorf("%s: %v; want %v", name, err, c.want)
		}
	}
}

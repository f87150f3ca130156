package fetch

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"
)

func throttledAnswer(ms, topics uint32) []byte {
	b := binary.BigEndian.AppendUint32(nil, ms)
	b = append(b, make([]byte, 2+4)...) // error, session

	return binary.BigEndian.AppendUint32(b, topics)
}

func TestThrottledAnswerIsEmpty(t *testing.T) {
	t.Parallel()
	r, err := decode(Request{Offset: 7}, 11, throttledAnswer(1500, 0))
	if err != nil || r.Next != 7 || len(r.Messages) != 0 || r.Throttle != 1500*time.Millisecond {
		t.Errorf("%+v, %v", r, err)
	}
	for name, body := range map[string][]byte{
		"no throttle time": throttledAnswer(0, 0),
		"negative":         throttledAnswer(1<<31, 0),
		"two topics":       throttledAnswer(1500, 2),
		"cut off":          throttledAnswer(1500, 0)[:11],
	} {
		if r, err := decode(Request{}, 11, body); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

func TestQuotaIsKeptByBroker(t *testing.T) {
	t.Parallel()
	var q Quota
	q.throttle(1, time.Hour)
	q.throttle(1, time.Minute) // An answer that comes late does not shorten it.
	if left := q.left(1); left < 59*time.Minute {
		t.Errorf("broker 1: %v left", left)
	}
	if left := q.left(2); left > 0 {
		t.Errorf("broker 2: %v left", left)
	}
}

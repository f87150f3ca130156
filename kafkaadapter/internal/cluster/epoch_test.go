package cluster

import (
	"errors"
	"testing"

	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/wire"
)

func epochAnswer(code kafka.Error, epoch int32, end int64) []byte {
	var w wire.Writer
	w.Int32(0) // throttle time
	w.Count(1)
	w.Text("t")
	w.Count(1)
	w.Int16(int16(code))
	w.Int32(3) // partition
	w.Int32(epoch)
	w.Int64(end)

	return w.Data
}

func TestDecodeEpoch(t *testing.T) {
	t.Parallel()
	decode := func(body []byte) (int32, int64, error) { return decodeEpoch(&wire.Reader{Data: body}) }
	if epoch, end, err := decode(epochAnswer(0, 5, 1<<40)); err != nil || epoch != 5 || end != 1<<40 {
		t.Errorf("%d, %d, %v", epoch, end, err)
	}
	if _, _, err := decode(epochAnswer(kafka.FencedLeaderEpoch, -1, -1)); !errors.Is(err, kafka.FencedLeaderEpoch) {
		t.Error(err)
	}
	whole := epochAnswer(0, 5, 1<<40)
	for n := range whole {
		if _, _, err := decode(whole[:n]); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
}

package fetch

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/segmentio/kafka-go"
)

func epochAnswer(code kafka.Error, epoch int32, end int64) []byte {
	b := appendInt32(nil, 0) // throttle time
	b = appendString(appendInt32(b, 1), "t")
	b = appendInt32(b, 1)
	b = binary.BigEndian.AppendUint16(b, uint16(code))
	b = appendInt32(b, 3) // partition
	b = appendInt32(b, epoch)

	return binary.BigEndian.AppendUint64(b, uint64(end))
}

func TestDecodeEpoch(t *testing.T) {
	t.Parallel()
	got, err := decodeEpoch(&cursor{data: epochAnswer(0, 5, 1<<40)})
	if err != nil || *got != (epochResponse{epoch: 5, endOffset: 1 << 40}) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := decodeEpoch(&cursor{data: epochAnswer(kafka.FencedLeaderEpoch, -1, -1)}); !errors.Is(err, kafka.FencedLeaderEpoch) {
		t.Error(err)
	}
	whole := epochAnswer(0, 5, 1<<40)
	for n := range whole {
		if _, err := decodeEpoch(&cursor{data: whole[:n]}); !errors.Is(err, ErrMalformed) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
}

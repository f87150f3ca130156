package franzadapter

import (
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nova-events/idempotent-consumer/internal/engine"
)

// FuzzDecode decodes whatever the bytes are: no panic, and what is delivered stands in order between the offset asked
// for and the one that comes next. The checksum of the first batch is mended, so that its records are reached.
func FuzzDecode(f *testing.F) {
	f.Add(int64(0), int64(100), int64(-1), rawBatch(0, 0, -1, 2, "a", "b"))
	f.Add(int64(1), int64(2), int64(7), append(rawBatch(0, transactionalBit, 7, 2, "a", "b"), rawBatch(2, controlBit|transactionalBit, 7, 1, "")...))
	for codec := range int16(5) {
		f.Add(int64(0), int64(9), int64(-1), rawBatch(0, codec, -1, 3, "long enough", "for three"))
	}
	f.Fuzz(func(t *testing.T, offset, end, aborted int64, raw []byte) {
		if offset < 0 || end < offset {
			return
		}
		if len(raw) > crcFrom {
			length := min(max(12+int(int32(binary.BigEndian.Uint32(raw[8:]))), crcFrom), len(raw))
			binary.BigEndian.PutUint32(raw[crcAt:], crc32.Checksum(raw[crcFrom:length], castagnoli))
		}
		response := &kmsg.FetchResponseTopicPartition{
			HighWatermark: end, AbortedTransactions: []kmsg.FetchResponseTopicPartitionAbortedTransaction{{ProducerID: aborted, FirstOffset: offset}},
		}
		for _, care := range []engine.Care{engine.DecodeAll, engine.DecodeFirst, engine.DecodeNothing} {
			d := newDecoder(partition{"t", 0}, offset, response, kgo.DefaultDecompressor())
			err := d.decode(raw, care)
			at := offset
			for _, r := range d.records {
				if r.Offset < at || r.Offset >= d.next {
					t.Fatalf("offset %d, after %d and with %d to come next, %v", r.Offset, at, d.next, err)
				}
				at = r.Offset + 1
			}
			if d.next < offset || d.next > max(end, offset) {
				t.Fatalf("goes on at %d behind [%d, %d), %v", d.next, offset, end, err)
			}
		}
	})
}

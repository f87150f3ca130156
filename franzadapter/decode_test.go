package franzadapter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nova-events/idempotent-consumer/internal/engine"
)

// rawBatch makes a batch of records without headers, one for each value.
func rawBatch(first int64, attributes int16, producer int64, claimed int, values ...string) []byte {
	var records []byte
	for i, value := range values {
		record := binary.AppendVarint([]byte{0, 0}, int64(i)) // attributes, time
		record = binary.AppendVarint(record, -1)              // no key
		record = append(binary.AppendVarint(record, int64(len(value))), value...)
		record = append(record, 0)
		records = append(binary.AppendVarint(records, int64(len(record))), record...)
	}
	b := kmsg.RecordBatch{
		FirstOffset: first, Length: int32(headerBytes + len(records)), Magic: magic2, Attributes: attributes,
		LastOffsetDelta: int32(claimed - 1), ProducerID: producer, NumRecords: int32(claimed), Records: records,
	}
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[crcAt:], crc32.Checksum(raw[crcFrom:], castagnoli))

	return raw
}

// decodeAll returns the values that are decoded, and where the next fetch goes on.
func decodeAll(offset int64, care engine.Care, aborted []kmsg.FetchResponseTopicPartitionAbortedTransaction, batches ...[]byte) (values string, next int64, err error) {
	response := &kmsg.FetchResponseTopicPartition{HighWatermark: 100, AbortedTransactions: aborted}
	d := newDecoder(partition{"t", 0}, offset, response, kgo.DefaultDecompressor())
	err = d.decode(bytes.Join(batches, nil), care)
	var all strings.Builder
	for _, r := range d.records {
		all.Write(r.Value)
	}

	return all.String(), d.next, err
}

// The records of a batch end before as many have come as it claims: nothing of it, and nothing behind
// it, may be passed over.
func TestBatchThatEndsTooEarlyIsNotPassedOver(t *testing.T) {
	t.Parallel()
	good, short, behind := rawBatch(0, 0, -1, 2, "a", "b"), rawBatch(2, 0, -1, 3, "long enough", "for three"), rawBatch(5, 0, -1, 1, "e")
	values, next, err := decodeAll(0, engine.DecodeAll, nil, good, short, behind)
	if values != "ab" || next != 2 || err != nil {
		t.Errorf("decoded %q up to %d, %v", values, next, err)
	}
	values, next, err = decodeAll(2, engine.DecodeAll, nil, short, behind)
	var bad *engine.UnreadableError
	if ok := errors.As(err, &bad); !ok || bad.First != 2 || bad.Last != 4 || !bytes.Equal(bad.Raw, short) || values != "" || next != 2 {
		t.Errorf("decoded %q up to %d, %v", values, next, err)
	}
}

// Records of aborted transactions are left out, those of the same producer before and behind are not.
func TestAbortedTransactionEndsWithItsMarker(t *testing.T) {
	t.Parallel()
	const producer = 7
	marker := rawBatch(3, transactionalBit|controlBit, producer, 1, "")
	key := []byte{0, 0, 0, 8, 0, 0, 0, 0, 0, 0} // a key of four bytes: version 0, abort
	marker = append(marker[:recordsFrom], append(binary.AppendVarint(nil, int64(len(key))), key...)...)
	binary.BigEndian.PutUint32(marker[8:], uint32(len(marker)-lengthPrefix))
	binary.BigEndian.PutUint32(marker[crcAt:], crc32.Checksum(marker[crcFrom:], castagnoli))
	values, next, err := decodeAll(0, engine.DecodeAll, []kmsg.FetchResponseTopicPartitionAbortedTransaction{{ProducerID: producer, FirstOffset: 1}},
		rawBatch(0, transactionalBit, producer, 1, "a"), rawBatch(1, transactionalBit, producer, 2, "b", "c"), marker,
		rawBatch(4, transactionalBit, producer, 1, "d"), rawBatch(5, 0, -1, 1, "e"))
	if values != "ade" || next != 6 || err != nil {
		t.Errorf("decoded %q up to %d, %v", values, next, err)
	}
}

func TestCareSaysHowMuchIsDecoded(t *testing.T) {
	t.Parallel()
	first, second := rawBatch(0, 0, -1, 2, "a", "b"), rawBatch(2, 0, -1, 1, "c")
	if values, next, err := decodeAll(1, engine.DecodeFirst, nil, first, second); values != "b" || next != 2 || err != nil {
		t.Errorf("the first batch: %q up to %d, %v", values, next, err)
	}
	if values, _, err := decodeAll(0, engine.DecodeNothing, nil, first, second); values != "" || !errors.Is(err, engine.ErrDeadly) {
		t.Errorf("nothing: %q, %v", values, err)
	}
}

// A damaged batch and one that is elsewhere in the log are no reason to go on behind them.
func TestBatchThatCannotBeTrusted(t *testing.T) {
	t.Parallel()
	damaged := rawBatch(0, 0, -1, 2, "a", "b")
	damaged[len(damaged)-2]++
	_, _, err := decodeAll(0, engine.DecodeAll, nil, damaged)
	var bad *engine.UnreadableError
	if ok := errors.As(err, &bad); !ok || !bad.Damaged || bad.Last != 1 {
		t.Errorf("damaged: %v", err)
	}
	for name, first := range map[string]int64{"behind a hole of its own": 200, "before": -1} {
		if _, next, err := decodeAll(50, engine.DecodeAll, nil, rawBatch(first, 0, -1, 1, "a")); err == nil || next != 50 || errors.As(err, &bad) && !bad.Damaged {
			t.Errorf("%s: up to %d, %v", name, next, err)
		}
	}
}

package fetch

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/compress"

	"github.com/nova-events/idempotent-consumer/consume"
)

// testBatch is a record batch as a broker stores it.
type testBatch struct {
	base       int64
	last       int64 // offset; zero: that of the last record
	attributes int16
	producer   int64
	time       int64 // of the first record; the n-th is n ms later
	maxTime    int64
	offsets    []int64 // of the records; default: from base on
	values     []string
	count      int32 // zero: len(values)
	key        []byte
	headers    []consume.RecordHeader
	epoch      int32 // of the leader
}

func (b testBatch) encode(t testing.TB) []byte {
	t.Helper()
	var records []byte
	last := b.base
	for i, value := range b.values {
		offset := b.base + int64(i)
		if b.offsets != nil {
			offset = b.offsets[i]
		}
		last = offset
		record := []byte{0}
		record = binary.AppendVarint(record, int64(i))
		record = binary.AppendVarint(record, offset-b.base)
		record = appendVarbytes(record, b.key)
		record = appendVarbytes(record, []byte(value))
		record = binary.AppendVarint(record, int64(len(b.headers)))
		for _, h := range b.headers {
			record = appendVarbytes(record, []byte(h.Key))
			record = appendVarbytes(record, h.Value)
		}
		records = appendVarbytes(records, record)
	}
	if codec := compress.Compression(b.attributes & compressionMask).Codec(); codec != nil {
		var compressed bytes.Buffer
		w := codec.NewWriter(&compressed)
		if _, err := w.Write(records); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		records = compressed.Bytes()
	}

	body := binary.BigEndian.AppendUint16(nil, uint16(b.attributes))
	body = binary.BigEndian.AppendUint32(body, uint32(max(b.last, last)-b.base))
	body = binary.BigEndian.AppendUint64(body, uint64(b.time))
	body = binary.BigEndian.AppendUint64(body, uint64(b.maxTime))
	body = binary.BigEndian.AppendUint64(body, uint64(b.producer))
	body = binary.BigEndian.AppendUint16(body, 0) // producer epoch
	body = binary.BigEndian.AppendUint32(body, 0) // base sequence
	count := b.count
	if count == 0 {
		count = int32(len(b.values))
	}
	body = binary.BigEndian.AppendUint32(body, uint32(count))
	body = append(body, records...)

	raw := binary.BigEndian.AppendUint64(nil, uint64(b.base))
	raw = binary.BigEndian.AppendUint32(raw, uint32(9+len(body)))
	raw = appendInt32(raw, b.epoch)
	raw = append(raw, magic2)
	raw = binary.BigEndian.AppendUint32(raw, crc32.Checksum(body, castagnoli))

	return append(raw, body...)
}

func appendVarbytes(to, b []byte) []byte {
	if b == nil {
		return binary.AppendVarint(to, -1)
	}

	return append(binary.AppendVarint(to, int64(len(b))), b...)
}

// seal corrects length, attributes and checksum of a batch of which the records have changed.
func seal(raw []byte, attributes int16) []byte {
	const lengthAt, sumAt, attributesAt = 8, 17, 21
	binary.BigEndian.PutUint32(raw[lengthAt:], uint32(len(raw)-lengthPrefix))
	binary.BigEndian.PutUint16(raw[attributesAt:], uint16(attributes))
	binary.BigEndian.PutUint32(raw[sumAt:], crc32.Checksum(raw[attributesAt:], castagnoli))

	return raw
}

// marker is a control batch that ends a transaction of producer.
func marker(offset, producer int64, commit bool) testBatch {
	kind := byte(0)
	if commit {
		kind = 1
	}

	return testBatch{
		base: offset, attributes: controlBit | transactionalBit, producer: producer,
		key: []byte{0, 0, 0, kind}, values: []string{"\x00\x00\x00\x00\x00\x00"},
	}
}

// testEnd is the high watermark of all responses.
const testEnd = 10_000

// testResponse is the body of a broker's answer, version 11.
func testResponse(aborted []abortedTransaction, code kafka.Error, records []byte) []byte {
	b := append([]byte(nil), make([]byte, 4+2+4)...) // throttle time, error, session
	b = binary.BigEndian.AppendUint32(b, 1)
	b = append(binary.BigEndian.AppendUint16(b, 1), 't')
	b = binary.BigEndian.AppendUint32(b, 1)
	b = binary.BigEndian.AppendUint32(b, 3)            // partition
	b = binary.BigEndian.AppendUint16(b, uint16(code)) // error
	b = binary.BigEndian.AppendUint64(b, testEnd)      // high watermark
	b = binary.BigEndian.AppendUint64(b, 900)          // last stable offset
	b = binary.BigEndian.AppendUint64(b, 5)            // log start
	b = binary.BigEndian.AppendUint32(b, uint32(len(aborted)))
	for _, a := range aborted {
		b = binary.BigEndian.AppendUint64(b, uint64(a.producer))
		b = binary.BigEndian.AppendUint64(b, uint64(a.first))
	}
	b = binary.BigEndian.AppendUint32(b, 0xffffffff) // preferred read replica
	b = binary.BigEndian.AppendUint32(b, uint32(len(records)))

	return append(b, records...)
}

func encodeAll(t testing.TB, batches ...testBatch) []byte {
	t.Helper()
	var all []byte
	for _, b := range batches {
		all = append(all, b.encode(t)...)
	}

	return all
}

func appendInt32(b []byte, n int32) []byte { return binary.BigEndian.AppendUint32(b, uint32(n)) }

package franzadapter

import (
	"encoding/binary"
	"fmt"
	"time"
	"unsafe"

	"github.com/nova-events/idempotent-consumer/consume"
)

const (
	// minRecordBytes is the size of a record without key, value and headers, minHeaderBytes that of a
	// header without key and value.
	minRecordBytes = 7
	minHeaderBytes = 2

	recordBytes = int64(unsafe.Sizeof(consume.Record{}))
	headerSize  = int64(unsafe.Sizeof(consume.RecordHeader{}))
)

// addRecords adds the records that are wanted.
//
// A batch as a producer has made it has a record for each of its offsets. Then a record's position
// decides its offset, whatever the record itself says: brokers do not check that. After compaction
// there are fewer records than offsets, and the records' own offsets count.
func (d *decoder) addRecords(b *batch, plain []byte) error {
	if most := len(plain) / minRecordBytes; b.count > most {
		return fmt.Errorf("%w: %d records in %d bytes", errMalformed, b.count, len(plain))
	}
	if free := cap(d.records) - len(d.records); free < b.count {
		d.records = append(make([]consume.Record, 0, len(d.records)+max(b.count, len(d.records))), d.records...)
	}
	all := &cursor{data: plain}
	whole := int64(b.count) == b.last-b.first+1
	for left, next := b.count, b.first; left > 0; left-- {
		record := &cursor{data: all.varbytes()}
		record.skip(1) // attributes
		timestamp, offset := b.firstTime+record.varint(), b.first+record.varint()
		r := consume.Record{Topic: d.topic, Partition: d.partition, HighWatermark: d.end, Key: record.varbytes(), Value: record.varbytes()}
		r.Headers = d.headers(record)
		switch {
		case all.bad || record.bad:
			return fmt.Errorf("%w: a record of it", errMalformed)
		case whole:
			offset = next
		case offset < next || offset > b.last:
			return fmt.Errorf("%w: a record at offset %d", errMalformed, offset)
		}
		r.Offset, next = offset, offset+1
		if offset < d.offset {
			continue // A fetch can start in the middle of a batch.
		}
		if b.attributes&logAppendTimeBit != 0 {
			timestamp = b.maxTime
		}
		if timestamp >= 0 { // else there is none
			r.Time = time.UnixMilli(timestamp)
		}
		d.records = append(d.records, r)
		d.bytes += recordBytes
	}
	if len(all.data) > 0 {
		return fmt.Errorf("%w: %d bytes behind its %d records", errMalformed, len(all.data), b.count)
	}

	return nil
}

func (d *decoder) headers(record *cursor) []consume.RecordHeader {
	n := record.varint()
	if n < 0 || n > int64(len(record.data)/minHeaderBytes) {
		record.bad = true
	}
	if n == 0 || record.bad {
		return nil
	}
	headers := make([]consume.RecordHeader, n)
	for i := range headers {
		headers[i] = consume.RecordHeader{Key: string(record.varbytes()), Value: record.varbytes()}
		d.bytes += headerSize + int64(len(headers[i].Key))
	}

	return headers
}

// cursor reads from data. It is bad once something was not there.
type cursor struct {
	data []byte
	bad  bool
}

// varint reads a number in zigzag encoding.
func (c *cursor) varint() int64 {
	n, size := binary.Varint(c.data)
	if size <= 0 {
		c.bad = true

		return 0
	}
	c.data = c.data[size:]

	return n
}

// varbytes reads bytes after their length: nil if the length is negative.
func (c *cursor) varbytes() []byte {
	n := c.varint()
	if n < 0 {
		return nil
	}

	return c.skip(n)
}

// skip returns the next n bytes.
func (c *cursor) skip(n int64) []byte {
	if c.bad || n > int64(len(c.data)) {
		c.bad = true

		return nil
	}
	read := c.data[:n:n]
	c.data = c.data[n:]

	return read
}

package fetch

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go/compress"

	"github.com/nova-events/idempotent-consumer/consume"
)

const (
	// minRecordBytes is the size of a record without key, value and headers.
	minRecordBytes = 7

	// minHeaderBytes is the size of a header without key and value.
	minHeaderBytes = 2
)

// addRecords adds the records that are wanted. Those of a batch that was not compressed share
// memory with the response.
//
// A batch that is as a producer has made it has a record for each of its offsets, and then a
// record's place is its offset, whatever the record itself says: brokers do not look at that,
// and Kafka's own consumer drops a record that says what another one has said. Compaction
// leaves fewer records than offsets, and their own word tells which those are.
func (d *decoder) addRecords(b batch, records []byte) error {
	if most := len(records) / minRecordBytes; int(b.count) > most {
		return fmt.Errorf("%w: %d records in %d bytes", ErrMalformed, b.count, len(records))
	}
	d.response.shared = d.response.shared || compress.Compression(b.attributes&compressionMask) == compress.None
	if err := d.makeRoom(int(b.count)); err != nil {
		return err
	}
	messages := d.response.Messages
	all := cursor{data: records}
	whole := int64(b.count) == b.last-b.base+1
	next := b.base
	for left := int(b.count); left > 0; left-- {
		record := cursor{data: all.varbytes()}
		record.int8() // attributes
		timestamp := b.firstTime + record.varint()
		offset := b.base + record.varint()
		key, value := record.varbytes(), record.varbytes()
		headers, err := d.headers(&record, left, all.left())
		switch {
		case err != nil:
			return err
		case all.bad || record.bad:
			return fmt.Errorf("%w: a record of it", ErrMalformed)
		case whole:
			offset = next
		case offset < next || offset > b.last:
			return fmt.Errorf("%w: a record at offset %d", ErrMalformed, offset)
		}
		next = offset + 1
		if offset < d.request.Offset {
			continue // A fetch can start in the middle of a batch.
		}
		// A message is large: it is filled in where it stays.
		messages = messages[:len(messages)+1]
		m := &messages[len(messages)-1]
		m.Topic, m.Partition, m.HighWatermark = d.request.Topic, int32(d.request.Partition), d.response.HighWatermark //nolint:gosec // Kafka's partitions have 32 bits.
		m.Offset, m.Value = offset, value
		if key != nil { // Writing nil costs as much as any pointer.
			m.Key = key
		}
		if headers != nil {
			m.Headers = headers
		}
		if b.attributes&logAppendTimeBit != 0 {
			timestamp = b.maxTime
		}
		if timestamp >= 0 { // else there is none
			m.Time = time.UnixMilli(timestamp)
		}
	}
	if all.left() > 0 {
		return fmt.Errorf("%w: %d bytes behind its %d records", ErrMalformed, all.left(), b.count)
	}
	d.response.Messages = messages

	return nil
}

// makeRoom makes room for the records of a batch; the first time also for those that are
// expected to follow, so that messages are not moved again and again.
func (d *decoder) makeRoom(count int) error {
	former := d.response.Messages
	size := len(former) + count
	if size <= cap(former) {
		return nil
	}
	if larger := max(size, expected(d.rest), 2*len(former)); d.account.grow(int64(larger)*messageBytes) == nil {
		size = larger
	} else if err := d.account.grow(int64(size) * messageBytes); err != nil {
		return err
	}
	d.response.Messages = append(make([]consume.Record, 0, size), former...)
	d.account.shrink(int64(cap(former)) * messageBytes)

	return nil
}

// expected is how many records whole batches claim to have. What a batch claims is believed up
// to what would fit into it uncompressed.
func expected(batches []byte) (records int) {
	for rest := batches; len(rest) >= lengthPrefix+headerBytes; {
		size := int64(binary.BigEndian.Uint32(rest[8:])) + lengthPrefix
		if size < lengthPrefix+headerBytes || size > int64(len(rest)) {
			break
		}
		claimed := binary.BigEndian.Uint32(rest[lengthPrefix+headerBytes-4:])
		records += int(min(int64(claimed), size/minRecordBytes))
		rest = rest[size:]
	}

	return records
}

// headers reads the headers of a record. One allocation serves for many records, and names that
// are those of the latest record are not copied again. left is how many records the batch has
// left with this one, rest how many bytes follow it.
func (d *decoder) headers(record *cursor, left, rest int) ([]consume.RecordHeader, error) {
	n := record.varint()
	if n < 0 || n > int64(record.left()/minHeaderBytes) {
		record.fail()
	}
	if n == 0 || record.bad {
		return nil, nil
	}
	if n > int64(len(d.slab)) {
		most := int64(record.left()+rest) / minHeaderBytes
		size := min(n*int64(left), most)
		if d.account.grow(size*headerSize) != nil {
			size = n
			if err := d.account.grow(size * headerSize); err != nil {
				return nil, err
			}
		}
		d.slab = make([]consume.RecordHeader, size)
	}
	headers := d.slab[:n:n]
	d.slab = d.slab[n:]
	for i := range headers {
		if key := record.varbytes(); i < len(d.latest) && d.latest[i].Key == string(key) {
			headers[i].Key = d.latest[i].Key
		} else {
			if d.names -= int64(len(key)) + nameExtra; d.names < 0 {
				more := max(nameStep, int64(len(key))+nameExtra)
				if err := d.account.grow(more); err != nil {
					return nil, err
				}
				d.names += more
			}
			headers[i].Key = string(key)
		}
		headers[i].Value = record.varbytes()
	}
	d.latest = headers

	return headers, nil
}

package fetch

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/compress"
)

const (
	// A batch begins with its base offset and its length, of which lengthPrefix bytes are no
	// part; the fixed fields of its header follow.
	lengthPrefix = 12
	headerBytes  = 49

	magic2 = 2

	compressionMask  = 0x07
	logAppendTimeBit = 0x08
	transactionalBit = 0x10
	controlBit       = 0x20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// batch is the header of a record batch of Kafka's message format version 2.
type batch struct {
	base, last         int64 // offsets
	leaderEpoch        int32 // of the partition's leader that wrote it
	attributes         int16
	firstTime, maxTime int64 // milliseconds
	producer           int64
	count              int32
	records            []byte
}

// decoder adds the committed records of batches to a response.
type decoder struct {
	request  Request
	response *Response
	aborted  []abortedTransaction // not yet reached, by their first offset
	aborting map[int64]bool       // producers inside an aborted transaction
	behind   int64                // the offset behind the latest record
	limit    int64                // bytes that a compressed batch may become
	size     int                  // bytes that the batches so far have become
	rest     []byte               // the batches from the present one on
	slab     []kafka.Header       // for the headers of the next records
	latest   []kafka.Header       // those of the latest record that has any
}

// batches decodes what a response holds. The last batch may be cut off: brokers fill up a
// response without regard to the ends of batches. It comes whole with the next one. So do those
// that are left out because those before them have grown large.
func (d *decoder) batches(records []byte) error {
	whole := 0
	for rest := records; len(rest) >= lengthPrefix && d.size < maxResponseSize; whole++ {
		size := int64(binary.BigEndian.Uint32(rest[8:])) + lengthPrefix
		if size > int64(len(rest)) {
			break
		}
		b, err := parseBatch(rest[:size])
		if err != nil {
			return fmt.Errorf("batch at offset %d: %w", int64(binary.BigEndian.Uint64(rest)), err) //nolint:gosec // The sign is part of the field.
		}
		d.rest = rest
		if err := d.add(b); err != nil {
			return fmt.Errorf("batch at offset %d: %w", b.base, err)
		}
		rest = rest[size:]
	}
	if len(records) > 0 && d.response.Next == d.request.Offset {
		// Asking again would give the same answer for ever.
		return fmt.Errorf("%w: its %d bytes with %d whole batches do not lead beyond offset %d", ErrMalformed, len(records), whole, d.request.Offset)
	}

	return nil
}

func parseBatch(raw []byte) (batch, error) {
	if len(raw) < lengthPrefix+headerBytes {
		return batch{}, fmt.Errorf("%w: a batch of %d bytes", ErrMalformed, len(raw))
	}
	c := &cursor{data: raw}
	b := batch{base: c.int64()}
	c.int32() // length
	b.leaderEpoch = c.int32()
	if magic := c.int8(); magic != magic2 {
		return batch{}, fmt.Errorf("message format %d: %w; it is that of producers before Kafka 0.11", magic, ErrUnsupported)
	}
	if sum := uint32(c.int32()); sum != crc32.Checksum(c.rest(), castagnoli) { //nolint:gosec // It is unsigned.
		return batch{}, fmt.Errorf("%w: wrong checksum", ErrMalformed)
	}
	b.attributes = c.int16()
	b.last = b.base + int64(c.int32())
	b.firstTime, b.maxTime = c.int64(), c.int64()
	b.producer = c.int64()
	c.int16() // producer epoch
	c.int32() // base sequence
	b.count = c.int32()
	b.records = c.rest()
	if b.base < 0 || b.last < b.base || b.count < 0 {
		return batch{}, fmt.Errorf("%w: offsets %d to %d, %d records", ErrMalformed, b.base, b.last, b.count)
	}

	return b, nil
}

// add adds the batch's records unless they are markers or aborted. The next fetch starts
// behind the batch's last offset, which can be that of a record which compaction has removed.
func (d *decoder) add(b batch) error {
	d.response.Next, d.response.LeaderEpoch = max(d.response.Next, b.last+1), b.leaderEpoch
	for len(d.aborted) > 0 && d.aborted[0].first <= b.last {
		if d.aborting == nil {
			d.aborting = make(map[int64]bool)
		}
		d.aborting[d.aborted[0].producer] = true
		d.aborted = d.aborted[1:]
	}
	switch {
	case b.attributes&controlBit != 0:
		if b.isAbortMarker() {
			delete(d.aborting, b.producer)
		}

		return nil
	case b.attributes&transactionalBit != 0 && d.aborting[b.producer]:
		return nil
	}

	records, err := decompress(compress.Compression(b.attributes&compressionMask), b.records, d.limit)
	if err != nil {
		return err
	}

	d.size += len(records)

	return d.addRecords(b, records)
}

// isAbortMarker reports whether a control batch ends a transaction by aborting it. The key of
// its record is a version and a type, of which 0 means abort.
func (b batch) isAbortMarker() bool {
	c := &cursor{data: b.records}
	c.varint() // length
	c.int8()   // attributes
	c.varint() // timestamp
	c.varint() // offset
	key := c.varbytes()

	return !c.bad && len(key) >= 4 && binary.BigEndian.Uint16(key[2:]) == 0
}

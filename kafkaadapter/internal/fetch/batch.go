package fetch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/segmentio/kafka-go/compress"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/internal/engine"
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
	account  *account             // of the memory
	care     engine.Care
	names    int64                  // bytes of headers' names that are counted and not used yet
	size     int                    // bytes that the batches so far have become
	rest     []byte                 // the batches from the present one on
	slab     []consume.RecordHeader // for the headers of the next records
	latest   []consume.RecordHeader // those of the latest record that has any
}

// batches decodes what a response holds. The last batch may be cut off: brokers fill up a
// response without regard to the ends of batches. It comes whole with the next one. So do those
// that are left out because those before them have grown large, and one that cannot be read: it
// is an error once nothing stands before it.
func (d *decoder) batches(records []byte) error {
	whole := 0
	for rest := records; len(rest) >= lengthPrefix && d.size < maxResponseSize; whole++ {
		size := int64(binary.BigEndian.Uint32(rest[8:])) + lengthPrefix
		if size > int64(len(rest)) {
			break
		}
		d.rest = rest
		before := d.account.now()
		if err := d.addBatch(rest[:size]); err != nil {
			d.account.shrink(d.account.now() - before)
			if whole > 0 {
				break
			}

			return err
		}
		rest = rest[size:]
		if d.care == engine.DecodeFirst {
			break
		}
	}
	if len(records) > 0 && d.response.Next == d.request.Offset {
		// Asking again would give the same answer for ever.
		return fmt.Errorf("%w: its %d bytes with %d whole batches do not lead beyond offset %d", ErrMalformed, len(records), whole, d.request.Offset)
	}

	return nil
}

// addBatch adds what a batch holds. The next fetch starts behind the batch's last offset, which
// can be that of a record which compaction has removed.
func (d *decoder) addBatch(raw []byte) error {
	b, err := parseBatch(raw)
	if err != nil {
		return d.unparsed(raw, err)
	}
	if err := d.checkPlace(b.base, b.last); err != nil {
		return err
	}
	if err = engine.ErrDeadly; d.care != engine.DecodeNothing {
		err = d.decode(b)
	}
	if errors.As(err, new(*shortError)) {
		return err
	}
	if err != nil {
		return newUnreadable(b.base, b.last, raw, err)
	}
	d.response.Next, d.response.LeaderEpoch = b.last+1, b.leaderEpoch

	return nil
}

// checkPlace refuses a batch that is not where the broker says the log is, or not behind the
// one before it. No checksum covers the base offset, and whoever follows a wrong one loses all
// that is between.
//
// The first batch of a response may begin before the offset asked for, no other may. The high
// watermark is that of before the broker has read: the log may have grown since, and then what
// is beyond comes with the next fetch.
func (d *decoder) checkPlace(first, last int64) error {
	next := d.response.Next
	switch {
	case first < 0 || last < first || last < next || first < next && next > d.request.Offset:
		return fmt.Errorf("%w: a batch of the offsets %d to %d where offset %d is next", ErrMalformed, first, last, next)
	case last >= d.response.HighWatermark:
		return fmt.Errorf("%w: a batch of the offsets %d to %d, and the log ends at %d", errBeyondEnd, first, last, d.response.HighWatermark)
	}

	return nil
}

func parseBatch(raw []byte) (batch, error) {
	c := &cursor{data: raw}
	b := batch{base: c.int64()}
	c.int32() // length
	b.leaderEpoch = c.int32()
	if magic := c.int8(); magic != magic2 && !c.bad {
		return batch{}, fmt.Errorf("message format %d: %w; it is that of producers before Kafka 0.11", magic, ErrUnsupported)
	}
	if len(raw) < lengthPrefix+headerBytes {
		return batch{}, fmt.Errorf("%w: a batch of %d bytes", ErrMalformed, len(raw))
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
	if b.last < b.base || b.count < 0 {
		return batch{}, fmt.Errorf("%w: offsets %d to %d, %d records", ErrMalformed, b.base, b.last, b.count)
	}

	return b, nil
}

// decode is add, with a panic of a decompressor as an error: it would end the process, and every other
// that reads the batch.
func (d *decoder) decode(b batch) (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("%w: decoding it panics: %v", ErrMalformed, reason)
		}
	}()

	return d.add(b)
}

// add adds the batch's records unless they are markers or aborted.
func (d *decoder) add(b batch) error {
	for len(d.aborted) > 0 && d.aborted[0].first <= b.last {
		if d.aborting == nil {
			d.aborting = make(map[int64]bool)
		}
		d.aborting[d.aborted[0].producer] = true
		d.aborted = d.aborted[1:]
	}
	switch {
	case b.attributes&controlBit != 0:
		abort, err := b.isAbortMarker()
		if abort {
			delete(d.aborting, b.producer)
		}

		return err
	case b.attributes&transactionalBit != 0 && d.aborting[b.producer]:
		return nil
	}

	records, err := decompress(compress.Compression(b.attributes&compressionMask), b.records, d.account)
	if err != nil {
		return err
	}

	d.size += len(records)

	return d.addRecords(b, records)
}

// isAbortMarker reports whether a control batch ends a transaction by aborting it. The key of
// its record is a version and a type, of which 0 means abort.
func (b batch) isAbortMarker() (bool, error) {
	if b.count == 0 {
		return false, nil // Compaction has removed it.
	}
	c := &cursor{data: b.records}
	c.varint() // length
	c.int8()   // attributes
	c.varint() // timestamp
	c.varint() // offset
	key := c.varbytes()
	if c.bad || len(key) < 4 {
		return false, fmt.Errorf("%w: a marker without a type", ErrMalformed)
	}

	return binary.BigEndian.Uint16(key[2:]) == 0, nil
}

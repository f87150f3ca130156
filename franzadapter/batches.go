package franzadapter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/nova-events/idempotent-consumer/internal/engine"
)

const (
	// A batch begins with its base offset and its length, of which lengthPrefix bytes are no
	// part; the fixed fields of its header follow.
	lengthPrefix = 12
	headerBytes  = 49

	epochAt, magicAt, crcAt, crcFrom, attributesAt, lastDeltaAt = 12, 16, 17, 21, 21, 23
	firstTimeAt, maxTimeAt, producerAt, countAt, recordsFrom    = 27, 35, 43, 57, lengthPrefix + headerBytes

	magic2 = 2

	// maxRawBytes bounds the bytes of a batch that an UnreadableError carries.
	maxRawBytes = 16 << 20
)

var (
	errMalformed   = errors.New("malformed fetch response")
	errUnsupported = errors.New("unsupported")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// batch is the header of a record batch of Kafka's message format version 2.
type batch struct {
	first, last        int64 // offsets
	leaderEpoch        int32 // of the partition's leader that wrote it
	attributes         uint16
	firstTime, maxTime int64 // milliseconds
	producer           int64
	count              int // of its records
	raw                []byte
}

// records are what follows the header, which must be whole.
func (b *batch) records() []byte { return b.raw[recordsFrom:] }

// unreadable makes the error for a batch that is at its place in the log and cannot be read.
func (b *batch) unreadable(err error) error {
	e := &engine.UnreadableError{First: b.first, Last: b.last, Size: len(b.raw), Err: err}
	if len(b.raw) <= maxRawBytes {
		e.Raw = bytes.Clone(b.raw)
	}

	return e
}

// split returns the whole batches of a response to a request for an offset, up to the first of which
// something is wrong. That is an error once it is the first: it comes again at the head of a response.
// The last batch may be cut off: brokers fill up a response without regard to the ends of batches.
func split(records []byte, offset, highWatermark int64) (batches []batch, err error) {
	next := offset
	for rest := records; len(rest) >= lengthPrefix; {
		size := int64(binary.BigEndian.Uint32(rest[8:])) + lengthPrefix
		if size > int64(len(rest)) {
			break
		}
		b, err := parse(rest[:size], next)
		if place := checkPlace(b, offset, next, highWatermark); place != nil {
			err = errors.Join(err, place)
		} else if err != nil && b.last >= b.first {
			err = b.unreadable(err)
			err.(*engine.UnreadableError).Damaged = true //nolint:errorlint,forcetypeassert // It is.
		}
		if err != nil {
			if len(batches) > 0 {
				return batches, nil
			}

			return nil, err
		}
		batches, next, rest = append(batches, b), b.last+1, rest[size:]
	}
	if len(records) > 0 && len(batches) == 0 {
		// Asking again would give the same answer for ever.
		return nil, fmt.Errorf("%w: its %d bytes have no whole batch", errMalformed, len(records))
	}

	return batches, nil
}

// parse reads the header of a batch. If the header cannot be trusted, but two of its fields agree on
// where the batch ends, parse returns the offsets with the error; otherwise last is less than first.
func parse(raw []byte, next int64) (batch, error) {
	b := batch{first: int64At(raw, 0), last: engine.None, raw: raw}
	if len(raw) > magicAt && raw[magicAt] < magic2 { // Messages of old have one offset: the last.
		b.first, b.last = next, b.first

		return b, fmt.Errorf("message format %d: %w; it is that of producers before Kafka 0.11", raw[magicAt], errUnsupported)
	}
	if len(raw) < lengthPrefix+headerBytes || raw[magicAt] != magic2 {
		return b, fmt.Errorf("%w: a batch of %d bytes", errMalformed, len(raw))
	}
	delta, count := int32At(raw, lastDeltaAt), int32At(raw, countAt)
	b.leaderEpoch, b.count, b.attributes = int32At(raw, epochAt), int(count), binary.BigEndian.Uint16(raw[attributesAt:])
	b.firstTime, b.maxTime, b.producer = int64At(raw, firstTimeAt), int64At(raw, maxTimeAt), int64At(raw, producerAt)
	if binary.BigEndian.Uint32(raw[crcAt:]) != crc32.Checksum(raw[crcFrom:], castagnoli) {
		if count == delta+1 {
			b.last = b.first + int64(delta)
		}

		return b, fmt.Errorf("%w: wrong checksum", errMalformed)
	}
	b.last = b.first + int64(delta)
	if delta < 0 || count < 0 {
		return b, fmt.Errorf("%w: offsets %d to %d, %d records", errMalformed, b.first, b.last, count)
	}

	return b, nil
}

func int32At(raw []byte, at int) int32 {
	return int32(binary.BigEndian.Uint32(raw[at:])) //nolint:gosec // The sign is part of the field.
}

func int64At(raw []byte, at int) int64 {
	return int64(binary.BigEndian.Uint64(raw[at:])) //nolint:gosec // The sign is part of the field.
}

// checkPlace refuses a batch that is outside the log, or not after the batch before it. No checksum
// covers the base offset, and a consumer that follows a wrong one loses all records in between.
//
// The first batch of a response may begin before the offset asked for, no other may. The high
// watermark is that of before the broker has read: the log may have grown since, and then what
// is beyond comes with the next fetch.
func checkPlace(b batch, offset, next, highWatermark int64) error {
	switch {
	case b.last < b.first:
		return nil // It is wrong by itself.
	case b.first < 0 || b.last < next || b.first < next && next > offset:
		return fmt.Errorf("%w: a batch of the offsets %d to %d where offset %d is next", errMalformed, b.first, b.last, next)
	case b.last >= highWatermark:
		return fmt.Errorf("%w: a batch of the offsets %d to %d, and the log ends at %d", errBeyondEnd, b.first, b.last, highWatermark)
	default:
		return nil
	}
}

// errBeyondEnd is the error of a batch beyond the end of the log. The log may have grown while the
// broker made its answer, so another request decides.
var errBeyondEnd = fmt.Errorf("%w: beyond the end of the log", errMalformed)

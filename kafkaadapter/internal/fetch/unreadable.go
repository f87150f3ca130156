package fetch

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/nova-events/idempotent-consumer/internal/engine"
)

// maxRawBytes bounds the bytes of a batch that an UnreadableError carries.
const maxRawBytes = 16 << 20

// UnreadableError is the engine's. Its Err is ErrMalformed, ErrUnsupported, ErrTooLarge or
// engine.ErrDeadly.
type UnreadableError = engine.UnreadableError

func newUnreadable(first, last int64, raw []byte, err error) *UnreadableError {
	e := &UnreadableError{First: first, Last: last, Size: len(raw), Err: err}
	if len(raw) <= maxRawBytes {
		e.Raw = bytes.Clone(raw) // Else it would hold on to the whole response.
	}

	return e
}

// unparsed makes the error about a batch whose header cannot be trusted. If two of its fields
// agree on where the batch ends, it is an UnreadableError; else nobody may go on behind it.
func (d *decoder) unparsed(raw []byte, err error) error {
	first := int64(binary.BigEndian.Uint64(raw)) //nolint:gosec // The sign is part of the field.
	var last int64
	const magicAt, lastDeltaAt, countAt = 16, 23, lengthPrefix + headerBytes - 4
	switch {
	case len(raw) > magicAt && raw[magicAt] < magic2: // Messages of old have one offset: the last.
		first, last = d.response.Next, first
	case len(raw) >= lengthPrefix+headerBytes:
		delta := int64(int32(binary.BigEndian.Uint32(raw[lastDeltaAt:])))                    //nolint:gosec // The sign is part of the field.
		if count := int64(int32(binary.BigEndian.Uint32(raw[countAt:]))); count != delta+1 { //nolint:gosec // The sign is part of the field.
			return fmt.Errorf("batch at offset %d: %w", first, err)
		}
		last = first + delta
	default:
		return fmt.Errorf("batch at offset %d: %w", first, err)
	}
	if place := d.checkPlace(first, last); place != nil {
		return fmt.Errorf("%w; %w", err, place)
	}

	e := newUnreadable(first, last, raw, err)
	e.Damaged = true

	return e
}

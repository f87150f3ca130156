package fetch

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// maxRawBytes bounds the bytes of a batch that an UnreadableError carries.
const maxRawBytes = 16 << 20

// UnreadableError is returned when the batch at the offset asked for cannot be read, though the
// broker says where in the log it is. What stands before it was returned by the calls before.
type UnreadableError struct {
	First, Last int64  // the batch's offsets
	Size        int    // of the batch in bytes
	Raw         []byte // the batch as the broker sent it; nil if that is more than 16 MiB
	Damaged     bool   // perhaps on its way only: asking again may help
	Err         error  // ErrMalformed, ErrUnsupported or ErrTooLarge
}

func (e *UnreadableError) Error() string {
	return fmt.Sprintf("batch of the offsets %d to %d: %v", e.First, e.Last, e.Err)
}

// Unwrap returns the reason.
func (e *UnreadableError) Unwrap() error { return e.Err }

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

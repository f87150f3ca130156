package wire

import "encoding/binary"

// Reader reads the fields of Kafka's protocol one after the other. The first that does not fit into
// what is left makes it bad, and then all that follows is zero: callers check once, at the end. It
// never panics, and makes room for nothing that is not there, whatever the bytes are.
type Reader struct {
	Data []byte // what is left
	Bad  bool
}

// Fail makes it bad.
func (r *Reader) Fail() { r.Data, r.Bad = nil, true }

// Bytes returns the next n bytes, without a copy.
func (r *Reader) Bytes(n int) []byte {
	if n < 0 || n > len(r.Data) {
		r.Fail()

		return nil
	}
	b := r.Data[:n:n]
	r.Data = r.Data[n:]

	return b
}

// Bool reads a byte that is 0 or not.
func (r *Reader) Bool() bool {
	b := r.Bytes(1)

	return len(b) == 1 && b[0] != 0
}

// Int16 reads 2 bytes.
func (r *Reader) Int16() int16 {
	if b := r.Bytes(2); b != nil {
		return int16(binary.BigEndian.Uint16(b)) //nolint:gosec // The sign is part of the field.
	}

	return 0
}

// Int32 reads 4 bytes.
func (r *Reader) Int32() int32 {
	if b := r.Bytes(4); b != nil {
		return int32(binary.BigEndian.Uint32(b)) //nolint:gosec // The sign is part of the field.
	}

	return 0
}

// Int64 reads 8 bytes.
func (r *Reader) Int64() int64 {
	if b := r.Bytes(8); b != nil {
		return int64(binary.BigEndian.Uint64(b)) //nolint:gosec // The sign is part of the field.
	}

	return 0
}

// Text reads a string of the classic form. Null is empty.
func (r *Reader) Text() string { return string(r.Bytes(max(0, int(r.Int16())))) }

// LongBytes reads bytes of the classic form. Null is nil.
func (r *Reader) LongBytes() []byte {
	n := r.Int32()
	if n < 0 {
		return nil
	}

	return r.Bytes(int(n))
}

// Count reads how many elements an array of the classic form has, each of at least so many bytes.
func (r *Reader) Count(least int) int { return r.plausible(int(r.Int32()), least) }

// plausible returns a number of elements, 0 for null, if what is left can hold them.
func (r *Reader) plausible(n, least int) int {
	if n > len(r.Data)/least {
		r.Fail()

		return 0
	}

	return max(0, n)
}

// uvarint reads a number of variable length without a sign.
func (r *Reader) uvarint() int {
	n, size := binary.Uvarint(r.Data)
	if size <= 0 || n > 1<<31-1 {
		r.Fail()

		return 0
	}
	r.Data = r.Data[size:]

	return int(n)
}

// CompactCount is count in the form of KIP-482.
func (r *Reader) CompactCount(least int) int { return r.plausible(r.uvarint()-1, least) }

// CompactBytes reads bytes in the form of KIP-482. Null is empty.
func (r *Reader) CompactBytes() []byte { return r.Bytes(max(0, r.uvarint()-1)) }

// CompactString reads a string in the form of KIP-482. Null is empty.
func (r *Reader) CompactString() string { return string(r.CompactBytes()) }

// Tags skips tagged fields.
func (r *Reader) Tags() {
	for n := r.uvarint(); n > 0 && !r.Bad; n-- {
		r.uvarint()
		r.Bytes(r.uvarint())
	}
}

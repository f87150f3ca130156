package group

import "encoding/binary"

// reader reads the fields of Kafka's protocol one after the other. The first that does not fit into
// what is left makes it bad, and then all that follows is zero: callers check once, at the end. It
// never panics, and makes room for nothing that is not there, whatever the bytes are.
type reader struct {
	data []byte
	bad  bool
}

func (r *reader) fail() { r.data, r.bad = nil, true }

// bytes returns the next n bytes, without a copy.
func (r *reader) bytes(n int) []byte {
	if n < 0 || n > len(r.data) {
		r.fail()

		return nil
	}
	b := r.data[:n:n]
	r.data = r.data[n:]

	return b
}

func (r *reader) bool() bool {
	b := r.bytes(1)

	return len(b) == 1 && b[0] != 0
}

func (r *reader) int16() int16 {
	if b := r.bytes(2); b != nil {
		return int16(binary.BigEndian.Uint16(b)) //nolint:gosec // The sign is part of the field.
	}

	return 0
}

func (r *reader) int32() int32 {
	if b := r.bytes(4); b != nil {
		return int32(binary.BigEndian.Uint32(b)) //nolint:gosec // The sign is part of the field.
	}

	return 0
}

func (r *reader) int64() int64 {
	if b := r.bytes(8); b != nil {
		return int64(binary.BigEndian.Uint64(b)) //nolint:gosec // The sign is part of the field.
	}

	return 0
}

// string reads a string of the classic form. Null is empty.
func (r *reader) string() string { return string(r.bytes(max(0, int(r.int16())))) }

// longBytes reads bytes of the classic form. Null is nil.
func (r *reader) longBytes() []byte {
	n := r.int32()
	if n < 0 {
		return nil
	}

	return r.bytes(int(n))
}

// count reads how many elements an array of the classic form has, each of at least so many bytes.
func (r *reader) count(least int) int { return r.plausible(int(r.int32()), least) }

// plausible returns a number of elements, 0 for null, if what is left can hold them.
func (r *reader) plausible(n, least int) int {
	if n > len(r.data)/least {
		r.fail()

		return 0
	}

	return max(0, n)
}

// uvarint reads a number of variable length without a sign.
func (r *reader) uvarint() int {
	n, size := binary.Uvarint(r.data)
	if size <= 0 || n > 1<<31-1 {
		r.fail()

		return 0
	}
	r.data = r.data[size:]

	return int(n)
}

// compactCount is count in the form of KIP-482.
func (r *reader) compactCount(least int) int { return r.plausible(r.uvarint()-1, least) }

// compactBytes reads bytes in the form of KIP-482. Null is empty.
func (r *reader) compactBytes() []byte { return r.bytes(max(0, r.uvarint()-1)) }

func (r *reader) compactString() string { return string(r.compactBytes()) }

// tags skips tagged fields.
func (r *reader) tags() {
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		r.uvarint()
		r.bytes(r.uvarint())
	}
}

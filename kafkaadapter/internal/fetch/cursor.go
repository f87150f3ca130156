package fetch

import "encoding/binary"

// cursor reads the fields of Kafka's protocol one after the other. The first that does not fit
// into what is left makes it bad, and then all that follows is zero: callers check once, at
// the end. It never panics, whatever the bytes are.
type cursor struct {
	rest []byte
	bad  bool
}

// bytes returns the next n bytes, without a copy.
func (c *cursor) bytes(n int) []byte {
	if c.bad || n < 0 || n > len(c.rest) {
		c.rest, c.bad = nil, true

		return nil
	}
	field := c.rest[:n:n]
	c.rest = c.rest[n:]

	return field
}

func (c *cursor) int8() int8 {
	if b := c.bytes(1); b != nil {
		return int8(b[0]) //nolint:gosec // The sign is part of the field.
	}

	return 0
}

func (c *cursor) int16() int16 {
	if b := c.bytes(2); b != nil {
		return int16(binary.BigEndian.Uint16(b)) //nolint:gosec // The sign is part of the field.
	}

	return 0
}

func (c *cursor) int32() int32 {
	if b := c.bytes(4); b != nil {
		return int32(binary.BigEndian.Uint32(b)) //nolint:gosec // The sign is part of the field.
	}

	return 0
}

func (c *cursor) int64() int64 {
	if b := c.bytes(8); b != nil {
		return int64(binary.BigEndian.Uint64(b)) //nolint:gosec // The sign is part of the field.
	}

	return 0
}

// varint reads a zigzag-encoded number of variable length.
func (c *cursor) varint() int64 {
	n, size := binary.Varint(c.rest)
	if size <= 0 {
		c.rest, c.bad = nil, true

		return 0
	}
	c.rest = c.rest[size:]

	return n
}

// varbytes reads bytes that their length precedes; length -1 means nil.
func (c *cursor) varbytes() []byte {
	n := c.varint()
	switch {
	case c.bad || n == -1:
		return nil
	case n < 0 || n > int64(len(c.rest)):
		c.rest, c.bad = nil, true

		return nil
	default:
		return c.bytes(int(n))
	}
}

package fetch

import "encoding/binary"

// cursor reads the fields of Kafka's protocol one after the other. The first that does not fit
// into what is left makes it bad, and then all that follows is zero: callers check once, at
// the end. It never panics, whatever the bytes are.
//
// It counts instead of cutting its slice shorter: for each pointer that is written the garbage
// collector wants to be told, and that took a third of the time.
type cursor struct {
	data []byte
	at   int
	bad  bool
}

func (c *cursor) rest() []byte { return c.data[c.at:] }

func (c *cursor) left() int { return len(c.data) - c.at }

// fail makes it bad.
func (c *cursor) fail() { c.at, c.bad = len(c.data), true }

// bytes returns the next n bytes, without a copy.
func (c *cursor) bytes(n int) []byte {
	if c.bad || n < 0 || n > c.left() {
		c.fail()

		return nil
	}
	start := c.at
	c.at += n

	return c.data[start:c.at:c.at]
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

// varint reads a zigzag-encoded number of variable length. Most are of one byte, and many are
// of two: sizes of records and values.
func (c *cursor) varint() int64 {
	if at := c.at; at+1 < len(c.data) {
		n := int64(c.data[at])
		if n < 0x80 {
			c.at++

			return n>>1 ^ -(n & 1)
		}
		if second := int64(c.data[at+1]); second < 0x80 {
			c.at += 2
			n = n&0x7f | second<<7

			return n>>1 ^ -(n & 1)
		}
	}

	return c.longVarint()
}

func (c *cursor) longVarint() int64 {
	n, size := binary.Varint(c.rest())
	if size <= 0 {
		c.fail()

		return 0
	}
	c.at += size

	return n
}

// varbytes reads bytes that their length precedes. Any negative length means nil: producers
// write -1, but brokers accept others, too, and Kafka's own consumer reads them so.
func (c *cursor) varbytes() []byte {
	n := c.varint()
	switch {
	case c.bad || n < 0:
		return nil
	case n > int64(c.left()):
		c.fail()

		return nil
	}
	start := c.at
	c.at += int(n)

	return c.data[start:c.at:c.at]
}

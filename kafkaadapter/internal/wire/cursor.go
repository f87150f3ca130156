package wire

import "encoding/binary"

// cursor goes through an answer. The first length that does not fit makes it bad.
type cursor struct {
	data   []byte
	at     int
	bad    bool
	latest []byte // the latest field of bytes
}

func (c *cursor) left() int64 { return int64(len(c.data) - c.at) }

func (c *cursor) skip(n int64) {
	if c.bad || n < 0 || n > c.left() {
		c.bad = true

		return
	}
	c.at += int(n)
}

func (c *cursor) int16() int16 {
	at := c.at
	if c.skip(2); c.bad {
		return 0
	}

	return int16(binary.BigEndian.Uint16(c.data[at:])) //nolint:gosec // The sign is part of the field.
}

func (c *cursor) int32() int32 {
	at := c.at
	if c.skip(4); c.bad {
		return 0
	}

	return int32(binary.BigEndian.Uint32(c.data[at:])) //nolint:gosec // The sign is part of the field.
}

func (c *cursor) uvarint() uint64 {
	n, size := binary.Uvarint(c.data[c.at:])
	if size <= 0 {
		c.bad = true

		return 0
	}
	c.at += size

	return n
}

// compactLength reads a length in the form of KIP-482: one more than it is, 0 for null.
func (c *cursor) compactLength() int64 {
	n := c.uvarint()
	if n > uint64(len(c.data))+1 {
		c.bad = true
	}
	if c.bad || n == 0 {
		return 0
	}

	return int64(n - 1) //nolint:gosec // It is no more than the answer has bytes.
}

// skipTags goes over tagged fields, of which it may know some.
func (c *cursor) skipTags(known map[uint64]shape) {
	for n := c.uvarint(); n > 0 && !c.bad; n-- {
		id, size := c.uvarint(), c.uvarint()
		if size > uint64(c.left()) { //nolint:gosec // It is not negative.
			c.bad = true

			return
		}
		if one, ok := known[id]; ok {
			one(c)
		} else {
			c.skip(int64(size)) //nolint:gosec // It is no more than what is left.
		}
	}
}

package fetch

import (
	"io"
	"sync"
)

const (
	// firstChunk is how much is allocated for a response on the word of its length alone.
	firstChunk = 4 << 20

	// minPooledBody is the size of the smallest body that is worth to be kept.
	minPooledBody = 64 << 10
)

// freeBody is how large a response may be that is not counted. Each fetch of an idle partition
// is answered by a smaller one.
const freeBody = 4 << 10

// bodyCost is what reading a response takes up: a large one is moved while it grows.
func bodyCost(size int64) int64 {
	switch {
	case size <= freeBody:
		return 0
	case size > firstChunk:
		return size + size/2
	default:
		return size
	}
}

// body is that of a response. It is used again if no message refers to it, as after
// decompression.
type body struct{ buffer []byte }

var bodies sync.Pool

// newBody returns an empty body for a response. One that was used before must not be much too
// large: messages may come to refer to it, and then keep all of it.
func newBody(size int) *body {
	b, ok := bodies.Get().(*body)
	if !ok {
		b = new(body)
	}
	if room := cap(b.buffer); room < min(size, firstChunk) || room/2 > size {
		b.buffer = make([]byte, 0, min(size, firstChunk))
	}

	return b
}

// release keeps the body for another response. Nothing may refer to it.
func (b *body) release() {
	if cap(b.buffer) >= minPooledBody && cap(b.buffer) <= maxPooled {
		b.buffer = b.buffer[:0]
		bodies.Put(b)
	}
}

// read reads size bytes. What is allocated follows what arrives, so that a length alone cannot
// take up memory.
func (b *body) read(from io.Reader, size int) error {
	for len(b.buffer) < size {
		if len(b.buffer) == cap(b.buffer) {
			grown := make([]byte, len(b.buffer), min(size, 2*cap(b.buffer)))
			copy(grown, b.buffer)
			b.buffer = grown
		}
		end := min(size, cap(b.buffer))
		n, err := io.ReadFull(from, b.buffer[len(b.buffer):end])
		b.buffer = b.buffer[:len(b.buffer)+n]
		if err != nil {
			return err
		}
	}

	return nil
}

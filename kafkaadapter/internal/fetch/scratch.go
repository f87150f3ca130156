package fetch

import (
	"io"
	"sync"
)

const (
	minScratch = 64 << 10

	// maxPooled bounds the buffers that are kept: larger ones are rare and would only take up
	// memory.
	maxPooled = 4 << 20
)

// scratch is what a batch is decompressed into: how large it becomes is known only then.
type scratch struct{ buffer []byte }

var scratches = sync.Pool{New: func() any { return new(scratch) }}

func getScratch() *scratch { return scratches.Get().(*scratch) } //nolint:forcetypeassert // It holds nothing else.

// release keeps the buffer for another batch. Nothing may refer to it.
func (s *scratch) release() {
	if cap(s.buffer) <= maxPooled {
		s.buffer = s.buffer[:0]
		scratches.Put(s)
	}
}

// reserve empties the buffer and makes room for at least size bytes, which it takes from the
// account. Buffers that are kept between batches are few and not counted.
func (s *scratch) reserve(size int64, a *account) error {
	s.buffer = s.buffer[:0]
	if size = max(size, minScratch); int64(cap(s.buffer)) < size {
		if err := a.grow(counted(size)); err != nil {
			return err
		}
		s.buffer = make([]byte, 0, size)
	}

	return nil
}

// counted is what a buffer of that size counts.
func counted(size int64) int64 {
	if size <= maxPooled {
		return 0
	}

	return size
}

// keep returns what the buffer holds in memory of the right size, for records to share.
func (s *scratch) keep(a *account) ([]byte, error) {
	if cap(s.buffer) > maxPooled && len(s.buffer) > cap(s.buffer)/2 {
		kept := s.buffer // A copy of so much costs more than the unused end.
		s.buffer = nil

		return kept, nil
	}
	if err := a.grow(int64(len(s.buffer))); err != nil {
		return nil, err
	}
	kept := make([]byte, len(s.buffer))
	copy(kept, s.buffer)
	a.shrink(counted(int64(cap(s.buffer)))) // It is not kept.

	return kept, nil
}

// readFrom reads until the end, but not much more than limit bytes. What is allocated follows
// what arrives.
func (s *scratch) readFrom(reader io.Reader, limit int64, a *account) error {
	for int64(len(s.buffer)) <= limit {
		if len(s.buffer) == cap(s.buffer) {
			former, size := int64(cap(s.buffer)), min(2*int64(cap(s.buffer)), max(limit+1, int64(cap(s.buffer))+1))
			if err := a.grow(counted(size)); err != nil {
				return err
			}
			grown := make([]byte, len(s.buffer), size)
			copy(grown, s.buffer)
			s.buffer = grown
			a.shrink(counted(former))
		}
		n, err := reader.Read(s.buffer[len(s.buffer):cap(s.buffer)])
		s.buffer = s.buffer[:len(s.buffer)+n]
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}

	return nil
}

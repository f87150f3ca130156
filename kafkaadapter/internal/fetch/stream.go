package fetch

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// stream reads the fields of an answer as they arrive. The first that does not fit into what is
// left, or cannot be read, makes an error, and then all that follows is zero. It never reads beyond the
// answer.
type stream struct {
	limited  io.LimitedReader
	buffered *bufio.Reader
	left     int64 // of the answer
	err      error
}

// newStream returns one that reads from a connection.
func newStream(connection io.Reader) *stream {
	s := &stream{limited: io.LimitedReader{R: connection}}
	s.buffered = bufio.NewReaderSize(&s.limited, math.MaxInt16+1) // the longest string

	return s
}

// reset begins an answer of so many bytes.
func (s *stream) reset(size int64) {
	s.limited.N, s.left, s.err = size, size, nil
	s.buffered.Reset(&s.limited)
}

// fail makes an error.
func (s *stream) fail() {
	if s.err == nil {
		s.err = fmt.Errorf("%w: it ends too early", ErrMalformed)
	}
}

// bytes returns the next n bytes, at most those of the longest string. They stay until the next call.
func (s *stream) bytes(n int) []byte {
	if n < 0 || int64(n) > s.left {
		s.fail()
	}
	if s.err != nil {
		return nil
	}
	b, err := s.buffered.Peek(n)
	if err != nil {
		s.broken(err)

		return nil
	}
	_, _ = s.buffered.Discard(n) // They are there.
	s.left -= int64(n)

	return b
}

// broken notes an error of the connection.
func (s *stream) broken(err error) {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	s.err = err
}

func (s *stream) int16() int16 {
	if b := s.bytes(2); b != nil {
		return int16(binary.BigEndian.Uint16(b)) //nolint:gosec // The sign is part of the field.
	}

	return 0
}

func (s *stream) int32() int32 {
	if b := s.bytes(4); b != nil {
		return int32(binary.BigEndian.Uint32(b)) //nolint:gosec // The sign is part of the field.
	}

	return 0
}

func (s *stream) int64() int64 {
	if b := s.bytes(8); b != nil {
		return int64(binary.BigEndian.Uint64(b)) //nolint:gosec // The sign is part of the field.
	}

	return 0
}

// skip reads n bytes, which are there, and drops them.
func (s *stream) skip(n int64) {
	if s.err != nil {
		return
	}
	if _, err := io.CopyN(io.Discard, s.buffered, n); err != nil {
		s.broken(err)
	}
	s.left -= n
}

// body reads n bytes, which are there, into a body.
func (s *stream) body(to *body, n int64) {
	if err := to.read(s.buffered, int(n)); err != nil {
		s.broken(err)
	}
	s.left -= n
}

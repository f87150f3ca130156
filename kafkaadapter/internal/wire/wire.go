// Package wire checks the answers of brokers before kafka-go decodes them. Its decoders believe
// the lengths that an answer claims: they allocate what an array is said to hold, or panic, in
// goroutines of their own where nobody can recover.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/segmentio/kafka-go/protocol"
)

// maxAnswerBytes bounds all answers but those that hold records: some hundred thousand
// partitions.
const maxAnswerBytes = 64 << 20

// ErrMalformed is returned by Read when an answer is not what was asked for or does not hold
// what it claims to. The connection is of no use then.
var ErrMalformed = errors.New("malformed answer of a broker")

// Conn is a connection to a broker. The bytes that are read from it are those that the broker
// has sent, but an answer that kafka-go decodes comes only once it is whole and has been
// checked. Answers to requests that it does not know, such as those for records, pass through.
type Conn struct {
	net.Conn

	tell func(error)

	mu    sync.Mutex
	sent  requests
	asked []request // not answered yet; brokers answer in order

	answer answer
}

// Check returns a Conn. It calls tell, which must not be nil, once if an answer is malformed.
func Check(conn net.Conn, tell func(error)) *Conn { return &Conn{Conn: conn, tell: tell} }

// request is what the answer to one depends on.
type request struct {
	key         protocol.ApiKey
	version     int16
	correlation uint32
}

// requests finds the headers of requests in what is written.
type requests struct {
	header [requestHeader]byte
	filled int
	skip   int // bytes of the request that are still to come
}

// requestHeader is the length of a request, its key, its version and its correlation id.
const requestHeader = 12

// Write implements net.Conn.
func (c *Conn) Write(b []byte) (int, error) {
	c.mu.Lock()
	c.asked = c.sent.read(c.asked, b)
	c.mu.Unlock()

	return c.Conn.Write(b)
}

func (r *requests) read(to []request, b []byte) []request {
	for len(b) > 0 {
		if r.skip > 0 {
			n := min(r.skip, len(b))
			r.skip -= n
			b = b[n:]

			continue
		}
		n := copy(r.header[r.filled:], b)
		r.filled += n
		b = b[n:]
		if r.filled < requestHeader {
			break
		}
		r.filled = 0
		r.skip = int(binary.BigEndian.Uint32(r.header[:])) - (requestHeader - 4)
		to = append(to, request{
			key:         protocol.ApiKey(binary.BigEndian.Uint16(r.header[4:])), //nolint:gosec // The sign is part of the field.
			version:     int16(binary.BigEndian.Uint16(r.header[6:])),           //nolint:gosec // The sign is part of the field.
			correlation: binary.BigEndian.Uint32(r.header[8:]),
		})
	}

	return to
}

// answer is the one that is being read. A read can end in the middle, at a deadline, and go on
// later.
type answer struct {
	header  [answerHeader]byte
	filled  int
	body    []byte // whole if it is to be checked
	missing int    // bytes of it
	request request

	ready   []byte // may be read
	passing int    // bytes that follow and are not looked at
	err     error
}

// answerHeader is the length of an answer and its correlation id.
const answerHeader = 8

// Read implements net.Conn. It must not be called at the same time as itself.
func (c *Conn) Read(b []byte) (int, error) {
	a := &c.answer
	for len(b) > 0 {
		switch {
		case len(a.ready) > 0:
			n := copy(b, a.ready)
			a.ready = a.ready[n:]

			return n, nil
		case a.passing > 0:
			n, err := c.Conn.Read(b[:min(len(b), a.passing)])
			a.passing -= n

			return n, err
		case a.err != nil:
			return 0, a.err
		}
		if err := c.next(); err != nil {
			return 0, err
		}
	}

	return 0, nil
}

// next reads on in the answer's header, or in its body.
func (c *Conn) next() error {
	a := &c.answer
	if a.filled < answerHeader {
		n, err := io.ReadFull(c.Conn, a.header[a.filled:])
		if a.filled += n; a.filled < answerHeader {
			return c.ended(err)
		}
		a.err = c.begin()
	} else if err := a.readBody(c.Conn); err != nil {
		return c.ended(err)
	}
	if a.err == nil && a.missing == 0 {
		a.err = c.end()
	}
	if a.err != nil {
		c.tell(a.err)
	}

	return nil
}

// ended makes the error of a connection that has ended, perhaps in the middle.
func (c *Conn) ended(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) && looksLikeTLS(c.answer.header) {
		return fmt.Errorf("%w: the broker expects TLS", err)
	}

	return err
}

// looksLikeTLS reports whether what should be an answer is an alert of TLS.
func looksLikeTLS(header [answerHeader]byte) bool {
	const alert, major = 0x15, 3

	return header[0] == alert && header[1] == major
}

// begin judges an answer by its header.
func (c *Conn) begin() error {
	a := &c.answer
	size := binary.BigEndian.Uint32(a.header[:])
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.asked) == 0 {
		return fmt.Errorf("%w: nothing was asked", ErrMalformed)
	}
	a.request, c.asked = c.asked[0], c.asked[1:]
	got := binary.BigEndian.Uint32(a.header[4:])
	switch isFetch := a.request.key == protocol.Fetch; {
	case looksLikeTLS(a.header) && got != a.request.correlation:
		return fmt.Errorf("%w: the broker expects TLS", ErrMalformed)
	case got != a.request.correlation:
		return fmt.Errorf("%w: it answers request %d, not %d", ErrMalformed, got, a.request.correlation)
	case size < answerHeader-4:
		return fmt.Errorf("%w: %v of %d bytes", ErrMalformed, a.request.key, size)
	case size > maxAnswerBytes && !isFetch:
		return fmt.Errorf("%w: %v of %d bytes, %d are allowed", ErrMalformed, a.request.key, size, maxAnswerBytes)
	}
	a.body, a.missing = nil, int(size)-(answerHeader-4)
	if !isChecked(a.request) {
		a.passing, a.missing = a.missing, 0
	}

	return nil
}

// readBody reads on in the body. What is allocated follows what arrives.
func (a *answer) readBody(from io.Reader) error {
	const chunk = 64 << 10
	if len(a.body) == cap(a.body) {
		grown := make([]byte, len(a.body), len(a.body)+min(a.missing, max(chunk, len(a.body))))
		copy(grown, a.body)
		a.body = grown
	}
	n, err := from.Read(a.body[len(a.body):min(cap(a.body), len(a.body)+a.missing)])
	a.body = a.body[:len(a.body)+n]
	if a.missing -= n; a.missing > 0 && err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	if n > 0 {
		return nil
	}

	return err
}

// end judges an answer that is whole and lets it be read.
func (c *Conn) end() error {
	a := &c.answer
	if a.passing == 0 && isChecked(a.request) {
		if err := checkAnswer(a.request, a.body); err != nil {
			return err
		}
	}
	a.ready = append(append(make([]byte, 0, answerHeader+len(a.body)), a.header[:]...), a.body...)
	a.filled, a.body = 0, nil

	return nil
}

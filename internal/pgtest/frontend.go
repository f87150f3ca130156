package pgtest

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
)

// Messages that a PostgreSQL client sends.
const (
	msgQuery   = 'Q'
	msgParse   = 'P'
	msgBind    = 'B'
	msgExecute = 'E'
	msgSync    = 'S'
	msgCall    = 'F'
)

// msgReadyForQuery is what a server ends its answer with.
const msgReadyForQuery = 'Z'

// headerSize is the type and the length of a message. The startup message lacks the type.
const headerSize = 5

// peekSize is how much of a message is looked at.
const peekSize = 1 << 10

// message is a message at the head of a stream, not yet read from it.
type message struct {
	kind byte
	size int64  // with header
	body []byte // its beginning; valid until the stream is read
}

// asks reports whether the server answers this message of a client with msgReadyForQuery.
func (m message) asks() bool {
	return m.kind == msgQuery || m.kind == msgSync || m.kind == msgCall
}

// peekMessage returns the next message of a stream.
func peekMessage(stream *bufio.Reader) (message, error) {
	header, err := stream.Peek(headerSize)
	if err != nil {
		return message{}, err
	}
	m := message{kind: header[0], size: 1 + int64(binary.BigEndian.Uint32(header[1:]))}
	if m.size < headerSize {
		return message{}, fmt.Errorf("message %q has size %d", m.kind, m.size)
	}
	beginning, err := stream.Peek(int(min(m.size, peekSize)))
	if err != nil {
		return message{}, err
	}
	m.body = beginning[headerSize:]

	return m, nil
}

// statements knows what SQL the messages of one connection execute.
type statements struct {
	prepared map[string]string // SQL by the name of the prepared statement
	portals  map[string]string // SQL by the name of the portal
}

func newStatements() statements {
	return statements{prepared: make(map[string]string), portals: make(map[string]string)}
}

// executedBy returns the SQL that a client's message makes the server execute, or "".
func (s statements) executedBy(m message) string {
	first, rest := cutString(m.body)
	second, _ := cutString(rest)
	switch m.kind {
	case msgQuery:
		return first
	case msgParse:
		s.prepared[first] = second
	case msgBind:
		s.portals[first] = s.prepared[second]
	case msgExecute:
		return s.portals[first]
	}

	return ""
}

// cutString splits bytes at the end of the string that they begin with.
func cutString(b []byte) (string, []byte) {
	before, after, _ := bytes.Cut(b, []byte{0})

	return string(before), after
}

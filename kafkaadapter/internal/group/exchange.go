package group

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/segmentio/kafka-go/protocol"
)

// maxAnswerBytes bounds an answer: some hundred thousand partitions, or some thousand members.
const maxAnswerBytes = 64 << 20

// errMalformed says that an answer is not one to what was asked.
var errMalformed = errors.New("malformed answer")

// exchange is a request and its answer, on a connection of kafka-go's that nothing else uses
// meanwhile.
type exchange struct {
	ctx            context.Context //nolint:containedctx // kafka-go passes none on.
	clientID       string
	key            protocol.ApiKey
	oldest, newest int16 // versions, all of the form of KIP-482
	encode         func(w *writer, version int16)
}

// answer is what the broker says, behind the header.
type answer struct {
	reader

	key     protocol.ApiKey
	version int16
}

// ApiKey implements protocol.Message.
func (e *exchange) ApiKey() protocol.ApiKey { return e.key } //nolint:revive // kafka-go's spelling.

// ApiKey implements protocol.Message.
func (a *answer) ApiKey() protocol.ApiKey { return a.key } //nolint:revive // kafka-go's spelling.

// Required implements protocol.RawExchanger.
func (*exchange) Required(map[protocol.ApiKey]int16) bool { return true }

// RawExchange implements protocol.RawExchanger. When the context ends, the connection has no time
// left. That is the only way to end the wait for an answer that the broker holds back, and it cuts
// nothing else.
func (e *exchange) RawExchange(connection io.ReadWriter) (protocol.Message, error) { //nolint:ireturn // kafka-go's interface.
	uncut := context.AfterFunc(e.ctx, func() {
		if c, ok := connection.(interface{ SetDeadline(t time.Time) error }); ok {
			_ = c.SetDeadline(time.Unix(1, 0)) // It fails if the connection is closed.
		}
	})
	a, err := e.run(connection)
	if !uncut() {
		return nil, context.Cause(e.ctx)
	}
	if err != nil {
		return nil, err
	}

	return a, nil
}

func (e *exchange) run(connection io.ReadWriter) (*answer, error) {
	version := e.newest
	if e.oldest < e.newest {
		newest, err := e.newestOf(connection)
		if err != nil {
			return nil, err
		}
		version = max(e.oldest, min(e.newest, newest))
	}
	w := header(e.key, version, e.clientID)
	w.noTags()
	e.encode(w, version)
	r, err := ask(connection, w)
	if err != nil {
		return nil, err
	}
	r.tags()

	return &answer{reader: *r, key: e.key, version: version}, nil
}

// newestOf asks for the newest version of the request that the broker knows. kafka-go asks, too,
// but tells only of versions that it knows itself.
func (e *exchange) newestOf(connection io.ReadWriter) (int16, error) {
	r, err := ask(connection, header(protocol.ApiVersions, 0, e.clientID))
	if err != nil {
		return 0, err
	}
	const leastKey = 6
	code := r.int16()
	for range r.count(leastKey) {
		if key, _, newest := r.int16(), r.int16(), r.int16(); protocol.ApiKey(key) == e.key {
			return newest, nil
		}
	}

	return 0, fmt.Errorf("%w: no versions of %v, error %d", errMalformed, e.key, code)
}

// correlation numbers requests: one at a time travels on a connection.
const correlation = 1

func header(key protocol.ApiKey, version int16, clientID string) *writer {
	w := &writer{data: make([]byte, 4, 512)} // It begins with its length.
	w.int16(int16(key))
	w.int16(version)
	w.int32(correlation)
	w.string(clientID)

	return w
}

// ask sends a request and returns the answer behind its correlation id.
func ask(connection io.ReadWriter, w *writer) (*reader, error) {
	binary.BigEndian.PutUint32(w.data, uint32(len(w.data)-4)) //nolint:gosec // No request is that long.
	if _, err := connection.Write(w.data); err != nil {
		return nil, err
	}
	var length [4]byte
	if _, err := io.ReadFull(connection, length[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(length[:])
	if size > maxAnswerBytes {
		return nil, fmt.Errorf("%w: %d bytes, %d are allowed", errMalformed, size, maxAnswerBytes)
	}
	body, err := io.ReadAll(io.LimitReader(connection, int64(size))) // It makes room for what arrives.
	if err != nil {
		return nil, err
	}
	if len(body) < int(size) {
		return nil, io.ErrUnexpectedEOF
	}
	r := &reader{data: body}
	if got := r.int32(); got != correlation {
		return nil, fmt.Errorf("%w: it answers request %d, not %d", errMalformed, got, correlation)
	}

	return r, nil
}

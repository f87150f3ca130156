package fetch

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/segmentio/kafka-go/protocol"
)

// maxAnswerBytes bounds the answers to all requests but those for records: some hundred
// thousand partitions.
const maxAnswerBytes = 64 << 20

// correlation numbers requests: one at a time travels on a connection.
const correlation = 1

// beginRequest returns the header of a request, to which its body is appended.
func beginRequest(key protocol.ApiKey, version uint16, clientID string) []byte {
	b := make([]byte, 4, 256)
	b = binary.BigEndian.AppendUint16(b, uint16(key)) //nolint:gosec // Kafka's keys are small.
	b = binary.BigEndian.AppendUint16(b, version)
	b = binary.BigEndian.AppendUint32(b, correlation)

	return appendString(b, clientID[:min(len(clientID), 1<<15-1)])
}

// appendString appends a string of at most 32 KiB.
func appendString(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(s))) //nolint:gosec // See above.

	return append(b, s...)
}

// ask sends a request that beginRequest has begun and returns the answer behind its correlation
// id.
func ask(connection io.ReadWriter, request []byte) (*cursor, error) {
	binary.BigEndian.PutUint32(request, uint32(len(request)-4)) //nolint:gosec // Names are short.
	if _, err := connection.Write(request); err != nil {
		return nil, err
	}
	var header [4]byte
	if _, err := io.ReadFull(connection, header[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(header[:])
	if size > maxAnswerBytes {
		return nil, fmt.Errorf("answer of %d bytes: %w, %d are allowed", size, ErrTooLarge, maxAnswerBytes)
	}
	body, err := io.ReadAll(io.LimitReader(connection, int64(size)))
	if err != nil {
		return nil, err
	}
	if len(body) < int(size) {
		return nil, io.ErrUnexpectedEOF
	}
	c := &cursor{data: body}
	if got := c.int32(); got != correlation {
		return nil, fmt.Errorf("%w: it answers request %d, not %d", ErrMalformed, got, correlation)
	}

	return c, nil
}

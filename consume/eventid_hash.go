package consume

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
)

// HashPart is what ContentHash hashes besides the value: WithKey, WithHeaders.
type HashPart struct {
	key     bool
	headers []string
}

// WithKey makes ContentHash include the record's key. No key and an empty key differ.
func WithKey() HashPart { return HashPart{key: true} }

// WithHeaders makes ContentHash include these headers. Their order here does not matter. All
// headers of a name count, in the order of the record; a missing header, one without a value and an
// empty one differ. Do not name headers that a retry changes, such as tracing headers and times of
// sending: no duplicate would be detected.
func WithHeaders(names ...string) HashPart { return HashPart{headers: slices.Clone(names)} }

// ContentHash makes the event id of the SHA-256 of the record's value, as "sha256:" and 64 hex
// digits; with parts also of those, as "sha256-parts:" and 64 digits. It needs nothing from
// producers and detects every duplicate with the same bytes, but two events with the same content
// are one: two equal orders are one order.
//
// The error is ErrNoEventID if a record has no value, whatever the parts, because all tombstones of
// a key would be one event. Other parts make other ids: after a change, records that were processed
// before are not recognized.
//
// With parts, the hash is over, in this order: "key" and the key, if chosen; for each chosen
// header, sorted by name, "header", the name, the number of its values and the values; the record's
// value. Numbers have 8 bytes, big-endian, and each string follows its length, which is -1 for
// null. So two records that differ in a chosen part never hash the same bytes.
func ContentHash(parts ...HashPart) EventID {
	var key bool
	var headers []string
	for _, part := range parts {
		key = key || part.key
		headers = append(headers, part.headers...)
	}
	slices.Sort(headers)
	headers = slices.Compact(headers)

	return func(record Record) (string, error) {
		if len(record.Value) == 0 {
			return "", fmt.Errorf("%w: the record has no value to hash", ErrNoEventID)
		}
		if !key && len(headers) == 0 {
			sum := sha256.Sum256(record.Value)

			return "sha256:" + hex.EncodeToString(sum[:]), nil
		}
		sum := sha256.Sum256(hashInput(record, key, headers))

		return "sha256-parts:" + hex.EncodeToString(sum[:]), nil
	}
}

func hashInput(record Record, key bool, headers []string) []byte {
	var input []byte
	if key {
		input = appendBytes(input, []byte("key"))
		input = appendBytes(input, record.Key)
	}
	for _, name := range headers {
		var count int64
		var values []byte
		for _, h := range record.Headers {
			if h.Key == name {
				count++
				values = appendBytes(values, h.Value)
			}
		}
		input = appendBytes(input, []byte("header"))
		input = appendBytes(input, []byte(name))
		input = appendInt(input, count)
		input = append(input, values...)
	}

	return appendBytes(input, record.Value)
}

func appendBytes(to, b []byte) []byte {
	length := int64(len(b))
	if b == nil {
		length = -1
	}

	return append(appendInt(to, length), b...)
}

func appendInt(to []byte, i int64) []byte {
	return binary.BigEndian.AppendUint64(to, uint64(i)) //nolint:gosec // -1 becomes 64 bits that are no length.
}

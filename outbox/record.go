package outbox

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/tables"
)

// MaxRecordBytes is how large key, value and headers of a record can be together: 16 MiB. Brokers accept
// less by default, 1 MiB for a batch.
const MaxRecordBytes = 16 << 20

// ErrInvalidRecord is returned, with the reason, when a record cannot be a record of Kafka or cannot be stored. It is
// found before any I/O. The same record will always be refused.
var ErrInvalidRecord = errors.New("outbox: invalid record")

// Record is a record for Kafka.
type Record struct {
	Topic string

	// Key decides the partition, as Kafka's own client computes it, and with the topic which records keep
	// their order. Nil or empty: none.
	Key []byte

	// Value is nil for a tombstone.
	Value []byte

	// Headers are sent as they are, traceparent for instance, but for the one of the event id
	// (Config.EventIDHeader), which the relay sets.
	Headers []consume.RecordHeader

	// EventID is by which consumers recognize the record if it comes again. Give it if it follows from
	// what the record says, so that another publication of the same has the same id: a database that has lost its latest
	// commits publishes again what Kafka has. Default: a UUID of version 7 of its own. See idem.ErrInvalidEventID for what
	// it can be.
	EventID string
}

const maxTopicBytes = 249

func (r *Record) validate() error {
	size := len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		size += len(h.Key) + len(h.Value)
	}
	switch {
	case !isTopic(r.Topic):
		return fmt.Errorf("%w: %q is no name of a topic", ErrInvalidRecord, r.Topic)
	case size > MaxRecordBytes:
		return fmt.Errorf("%w: it has %d bytes, %d are allowed; publish where the content is", ErrInvalidRecord, size, MaxRecordBytes)
	case len(r.EventID) > idem.MaxEventIDBytes || !tables.IsText(r.EventID):
		return fmt.Errorf("%w: its event id is longer than %d bytes, not UTF-8, or contains a NUL byte", ErrInvalidRecord, idem.MaxEventIDBytes)
	default:
		return nil
	}
}

// isTopic reports whether Kafka takes a name for a topic. It runs for each record, so it is no regular expression.
func isTopic(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= maxTopicBytes && !strings.ContainsFunc(name, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-'
	})
}

// keyHash returns what the records of a topic and key have in common. It is 0 without a key.
func (r *Record) keyHash() int64 {
	if len(r.Key) == 0 {
		return 0
	}
	hash := sha256.Sum256(slices.Concat([]byte(r.Topic), []byte{0}, r.Key))

	return int64(binary.BigEndian.Uint64(hash[:8])) //nolint:gosec // All 64 bits are meant.
}

// headers returns the texts of two bytea[], empty without headers.
func (r *Record) headers() (keys, values string) {
	if len(r.Headers) == 0 {
		return "", ""
	}
	var k, v strings.Builder
	for i, h := range r.Headers {
		appendElement(&k, i, []byte(h.Key))
		if h.Value == nil {
			appendNull(&v, i)
		} else {
			appendElement(&v, i, h.Value)
		}
	}

	return k.String() + "}", v.String() + "}"
}

func appendElement(text *strings.Builder, i int, value []byte) {
	text.WriteString(separator(i) + `"\\x` + hex.EncodeToString(value) + `"`)
}

func appendNull(text *strings.Builder, i int) { text.WriteString(separator(i) + "NULL") }

func separator(i int) string {
	if i == 0 {
		return "{"
	}

	return ","
}

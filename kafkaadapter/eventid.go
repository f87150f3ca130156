package kafkaadapter

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/segmentio/kafka-go"
)

// DefaultEventIDHeader is the header from which event ids are taken where nothing else is said.
const DefaultEventIDHeader = "idempotency_key"

// ErrNoEventID is returned, with the reason, when a record does not carry what its event id is
// made of. Such a record is an error, never a pass: without an id duplicates cannot be told.
var ErrNoEventID = errors.New("no event id")

// EventID returns the id of the event that a record carries. Records with the same id are the
// same event, and only the first of them is processed. What it returns must satisfy
// idem.ErrInvalidEventID's rules; an error ends the consumer's Run.
type EventID func(record kafka.Message) (string, error)

// Header takes the event id from a header, as it is. If there are several of that name the
// last counts, as in Kafka's own clients. It sees duplicates of every kind, provided that
// producers send the same id on a retry and never the same for two events.
func Header(name string) EventID {
	return func(record kafka.Message) (string, error) {
		for _, h := range slices.Backward(record.Headers) {
			if h.Key == name {
				if len(h.Value) == 0 {
					return "", fmt.Errorf("%w: the header %q is empty", ErrNoEventID, name)
				}

				return string(h.Value), nil
			}
		}

		return "", fmt.Errorf("%w: there is no header %q", ErrNoEventID, name)
	}
}

// TopicPartitionOffset makes the event id of the record's place, as in "orders-3-42". Every
// record has one, and redeliveries are seen; but a record that is produced twice is two
// events. If a topic is deleted and created again, its offsets begin anew: use a new consumer
// name then, else new records pass for old ones.
func TopicPartitionOffset() EventID {
	return func(record kafka.Message) (string, error) {
		return record.Topic + "-" + strconv.Itoa(record.Partition) + "-" + strconv.FormatInt(record.Offset, 10), nil
	}
}

// ContentHash makes the event id of the SHA-256 of the record's value, as "sha256:" and 64 hex
// digits. It needs nothing from producers, but two events with the same content are one: two
// equal orders are one order. A record without a value is an error, because all tombstones
// would be one event.
func ContentHash() EventID {
	return func(record kafka.Message) (string, error) {
		if len(record.Value) == 0 {
			return "", fmt.Errorf("%w: the record has no value to hash", ErrNoEventID)
		}
		sum := sha256.Sum256(record.Value)

		return "sha256:" + hex.EncodeToString(sum[:]), nil
	}
}

// PayloadField takes the event id from a field of a JSON object in the record's value. The
// path names it from the outside in, separated by dots: "order.id". Strings count as they are;
// numbers as they are written, so 1 and 1.0 are two events, 1 and "1" are one. Null, true,
// false, objects and arrays are errors, as is a missing field. If a name occurs twice in one
// object the first counts. What comes behind the field is not looked at.
func PayloadField(path string) EventID {
	names := strings.Split(path, ".")

	return func(record kafka.Message) (string, error) {
		decoder := json.NewDecoder(bytes.NewReader(record.Value))
		decoder.UseNumber()
		token, err := findField(decoder, names)
		if err != nil {
			return "", fmt.Errorf("%w: the field %q of the payload: %w", ErrNoEventID, path, err)
		}
		switch value := token.(type) {
		case json.Number:
			return value.String(), nil
		case string:
			if value != "" {
				return value, nil
			}
		}

		return "", fmt.Errorf("%w: the field %q of the payload is neither a number nor a string with something in it", ErrNoEventID, path)
	}
}

var errNoField = errors.New("it does not exist")

// findField returns the first token of a field's value.
func findField(decoder *json.Decoder, names []string) (json.Token, error) {
	for _, name := range names {
		start, err := decoder.Token()
		switch {
		case errors.Is(err, io.EOF):
			return nil, errNoField
		case err != nil:
			return nil, err //nolint:wrapcheck // The caller wraps it.
		case start != json.Delim('{'):
			return nil, errNoField
		}
		if err := skipTo(decoder, name); err != nil {
			return nil, err
		}
	}

	return decoder.Token() //nolint:wrapcheck // The caller wraps it.
}

// skipTo reads an object up to the value of the field.
func skipTo(decoder *json.Decoder, name string) error {
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return err //nolint:wrapcheck // The caller wraps it.
		}
		if key == name {
			return nil
		}
		var skipped json.RawMessage
		if err := decoder.Decode(&skipped); err != nil {
			return err //nolint:wrapcheck // The caller wraps it.
		}
	}

	return errNoField
}

package consume

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// DefaultEventIDHeader is the header from which event ids are taken by default.
const DefaultEventIDHeader = "idempotency_key"

// ErrNoEventID is returned, with the reason, when a record lacks what its event id is made from.
// That is always an error, because without an id no duplicate can be detected.
var ErrNoEventID = errors.New("no event id")

// EventID returns the id of the event that a record carries. Records with the same id are the
// same event, and only the first of them is processed. What it returns must satisfy
// idem.ErrInvalidEventID's rules; a record with an error fails (FailureConfig.Policy), and an id beside the error
// does not count.
//
// If a consumer has several topics, an id must be unique across them: New refuses PayloadField,
// ContentHash and functions of your own unless they are wrapped in InTopic or AcrossTopics.
//
// You can use a function of your own. It must not change the record. It must return the same id whenever it sees the
// same event, so it must use neither a clock nor randomness. It must wrap ErrNoEventID if the record has no id.
// Several partitions call it at the same time.
type EventID func(record Record) (string, error)

// Header takes the event id from a header, as it is. If there are several of that name the last counts,
// as in Kafka's own clients. It detects redelivered and re-produced records, provided that producers
// send the same id on a retry and never the same id for two events. The error is ErrNoEventID if the
// header is missing or empty.
//
// An id in a header is assumed to be unique across topics. If each topic has a counter of its own,
// wrap the strategy in InTopic.
func Header(name string) EventID {
	return settled(func(record Record) (string, error) {
		for _, h := range slices.Backward(record.Headers) {
			if h.Key == name {
				if len(h.Value) == 0 {
					return "", fmt.Errorf("%w: the header %q is empty", ErrNoEventID, name)
				}

				return string(h.Value), nil
			}
		}

		return "", fmt.Errorf("%w: there is no header %q", ErrNoEventID, name)
	})
}

// TopicPartitionOffset makes the event id of the record's place, as in "orders-3-42". Every record
// has one, and redeliveries are detected. A record that is produced twice is two events. If a topic
// is deleted and created again, its offsets begin at 0 again: use a new consumer name then,
// otherwise new records count as old ones.
func TopicPartitionOffset() EventID {
	return settled(func(record Record) (string, error) {
		return record.Topic + "-" + strconv.Itoa(int(record.Partition)) + "-" + strconv.FormatInt(record.Offset, 10), nil
	})
}

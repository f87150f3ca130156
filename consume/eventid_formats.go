package consume

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// CloudEvents makes the event id of the source and the id of a CloudEvent, as in "7:/orders:A234":
// the length of the source in bytes, the source, the id. The length keeps pairs apart whatever is
// in them. An event has the same id in both content modes. The strategy detects redelivered and
// re-produced records, provided that a producer keeps the id on a retry. Two events collide only if
// one source uses an id twice, which the specification forbids.
//
// In binary mode the pair is in the headers ce_source and ce_id. In structured mode (the header
// content-type is application/cloudevents+json) it is in the record's value. In another format,
// such as Avro, the headers count, which producers may add there too. The error is ErrNoEventID if
// one of the two is missing, empty or, in JSON, not a string. As in PayloadField, the first of two
// fields of the same name counts, and the JSON after the pair is not read.
//
// See the Kafka protocol binding 1.0.2, section 3, and "id" in the specification:
// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
func CloudEvents() EventID {
	fromSource, fromID := Header("ce_source"), Header("ce_id")

	return settled(func(record Record) (string, error) {
		var source, id string
		var err error
		if structuredJSON(record) {
			source, id, err = sourceAndID(record.Value)
			if err != nil {
				return "", fmt.Errorf("%w: the structured CloudEvent: %w", ErrNoEventID, err)
			}
		} else {
			if source, err = fromSource(record); err != nil {
				return "", err
			}
			if id, err = fromID(record); err != nil {
				return "", err
			}
		}

		return strconv.Itoa(len(source)) + ":" + source + ":" + id, nil
	})
}

// structuredJSON reports whether the record's value is a CloudEvent in JSON.
func structuredJSON(record Record) bool {
	mediaType, _, _ := strings.Cut(HeaderCarrier(record.Headers).Get("content-type"), ";") // "; charset=UTF-8" may follow.

	return strings.EqualFold(strings.TrimSpace(mediaType), "application/cloudevents+json")
}

func sourceAndID(value []byte) (source, id string, err error) {
	decoder := newDecoder(value)
	if err := enterObject(decoder); err != nil {
		return "", "", err
	}
	found := make(map[string]string)
	for missing := []string{"source", "id"}; len(missing) > 0; {
		name, err := skipTo(decoder, missing...)
		if err != nil {
			return "", "", fmt.Errorf("%s: %w", strings.Join(missing, " and "), err)
		}
		token, err := decoder.Token()
		if err != nil {
			return "", "", fmt.Errorf("%s: %w", name, err)
		}
		if found[name], err = stringID(token); err != nil {
			return "", "", fmt.Errorf("%s: %w", name, err)
		}
		missing = slices.DeleteFunc(missing, func(m string) bool { return m == name })
	}

	return found["source"], found["id"], nil
}

// DebeziumOutbox takes the event id from the header "id", where Debezium's outbox event router puts the id of the row
// in the outbox table. A header converter may have written the id as a JSON string, which is decoded, so that both
// forms are the same event; everything else is used as it is. The strategy detects redeliveries and what Debezium
// sends again after a restart. Two events collide if two rows share an id, in different outbox tables for instance.
// As one table may fill many topics, its ids are assumed to be unique across topics: if several tables use counters,
// wrap it in InTopic.
//
// The error is ErrNoEventID if the header is missing, empty, null, or a JSON string that is damaged
// or empty.
//
// See https://debezium.io/documentation/reference/stable/transformations/outbox-event-router.html
func DebeziumOutbox() EventID {
	header := Header("id")

	return settled(func(record Record) (string, error) {
		value, err := header(record)
		switch {
		case err != nil:
			return "", err
		case value == "null":
			return "", fmt.Errorf(`%w: the header "id" is null`, ErrNoEventID)
		case value[0] != '"':
			return value, nil
		}
		var id string
		if err = json.Unmarshal([]byte(value), &id); err == nil {
			id, err = stringID(id)
		}
		if err != nil {
			return "", fmt.Errorf(`%w: the header "id", a JSON string: %w`, ErrNoEventID, err)
		}

		return id, nil
	})
}

// Watermill takes the event id from the header "_watermill_message_uuid", where Watermill's Kafka
// publisher puts Message.UUID. It detects redeliveries and retries that publish the same Message; a
// Message that is made anew has a new UUID. Two events collide only if a service sets UUIDs by
// itself and uses one twice. The error is ErrNoEventID if the header is missing or empty.
//
// See https://watermill.io/pubsubs/kafka/
func Watermill() EventID { return Header("_watermill_message_uuid") }

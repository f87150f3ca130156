package consume_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nova-events/idempotent-consumer/consume"
)

// idCase says what a strategy makes of a record: an id, or ErrNoEventID for a reason.
type idCase struct {
	strategy consume.EventID
	record   consume.Record
	want     string
	reason   string // part of the error's text; empty if there is an id
}

func testIDs(t *testing.T, cases map[string]idCase) {
	t.Helper()
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := test.strategy(test.record)
			switch {
			case got != test.want:
				t.Errorf("got %q, %v; want %q", got, err, test.want)
			case test.reason == "" && (err != nil || got == ""):
				t.Errorf("got %q, %v; want no error", got, err)
			case test.reason != "" && (!errors.Is(err, consume.ErrNoEventID) || !strings.Contains(err.Error(), test.reason)):
				t.Errorf("got the error %v; want %v: %s", err, consume.ErrNoEventID, test.reason)
			}
		})
	}
}

// headers makes a record of names and values that take turns.
func headers(pairs ...string) consume.Record {
	var m consume.Record
	for i := 0; i < len(pairs); i += 2 {
		m.Headers = append(m.Headers, consume.RecordHeader{Key: pairs[i], Value: []byte(pairs[i+1])})
	}

	return m
}

func value(v string) consume.Record { return consume.Record{Value: []byte(v)} }

func TestHeader(t *testing.T) {
	t.Parallel()
	strategy := consume.Header("idempotency_key")
	testIDs(t, map[string]idCase{
		"one of many":          {strategy, headers("x", "1", "idempotency_key", "a"), "a", ""},
		"last of several":      {strategy, headers("idempotency_key", "a", "idempotency_key", "b"), "b", ""},
		"bytes as they are":    {strategy, headers("idempotency_key", " \xff"), " \xff", ""},
		"missing":              {strategy, headers("x", "1"), "", `there is no header "idempotency_key"`},
		"in another case":      {strategy, headers("Idempotency_Key", "a"), "", "there is no header"},
		"empty":                {strategy, headers("idempotency_key", ""), "", `the header "idempotency_key" is empty`},
		"last of two is empty": {strategy, headers("idempotency_key", "a", "idempotency_key", ""), "", "is empty"},
		"null":                 {strategy, consume.Record{Headers: []consume.RecordHeader{{Key: "idempotency_key"}}}, "", "is empty"},
	})
}

func TestTopicPartitionOffset(t *testing.T) {
	t.Parallel()
	testIDs(t, map[string]idCase{
		"place": {consume.TopicPartitionOffset(), consume.Record{Topic: "a-b", Partition: 3, Offset: 42}, "a-b-3-42", ""},
	})
}

// A place is an id of its own even though topics may contain what separates its parts.
func TestPlacesDiffer(t *testing.T) {
	t.Parallel()
	seen := make(map[string]string)
	strategy := consume.TopicPartitionOffset()
	for _, topic := range []string{"a", "a-1", "a-1-1", "1", "1-1", "a-1-11"} {
		for _, partition := range []int32{0, 1, 11, 111} {
			for _, offset := range []int64{0, 1, 11, 111} {
				id, err := strategy(consume.Record{Topic: topic, Partition: partition, Offset: offset})
				place := fmt.Sprint(topic, " ", partition, " ", offset)
				if other, ok := seen[id]; ok || err != nil {
					t.Errorf("%s and %s have the id %s, %v", place, other, id, err)
				}
				seen[id] = place
			}
		}
	}
}

// An error ends up in logs and dead letters, so it does not repeat what the record holds.
func TestErrorsOfLongRecordsAreShort(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("9", 900_000)
	for name, strategy := range map[string]consume.EventID{
		"Header": consume.Header("idempotency_key"), "PayloadField": consume.PayloadField("id.id"),
		"CloudEvents": consume.CloudEvents(), "DebeziumOutbox": consume.DebeziumOutbox(),
		"FirstOf": consume.FirstOf(consume.Header("x"), consume.PayloadField("id.id"), consume.DebeziumOutbox()),
	} {
		for _, content := range []string{
			long, `"` + long + `"`, `"` + long, `{"id":` + long + `}`, `{"id":"` + long + `"}`, `{"id":{"id":` + long,
			`{"id":{"id":"` + long + `\x"}}`, `{"` + long + `":1}`, `{"id":{"id":-` + long + `x}}`, `{"source":` + long + `,"id":1}`,
		} {
			for _, mode := range []string{"text/plain", "application/cloudevents+json"} {
				record := headers("content-type", mode, "id", content+`"`)
				record.Value = []byte(content)
				if id, err := strategy(record); err != nil && len(err.Error()) > 1000 {
					t.Errorf("%s: %d bytes: %.100s…", name, len(err.Error()), err)
				} else if err == nil && id == "" {
					t.Errorf("%s: neither an id nor an error", name)
				}
			}
		}
	}
}

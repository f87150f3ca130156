package kafkaadapter_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/kafkaadapter"
)

func TestEventIDs(t *testing.T) {
	t.Parallel()
	header := func(pairs ...string) kafka.Message {
		var m kafka.Message
		for i := 0; i < len(pairs); i += 2 {
			m.Headers = append(m.Headers, kafka.Header{Key: pairs[i], Value: []byte(pairs[i+1])})
		}

		return m
	}
	value := func(v string) kafka.Message { return kafka.Message{Value: []byte(v)} }
	field, nested := kafkaadapter.PayloadField("id"), kafkaadapter.PayloadField("order.id")
	byHeader := kafkaadapter.Header("idempotency_key")

	for name, test := range map[string]struct {
		strategy kafkaadapter.EventID
		record   kafka.Message
		want     string // empty: ErrNoEventID
	}{
		"header":                        {byHeader, header("x", "1", "idempotency_key", "a"), "a"},
		"header, the last of several":   {byHeader, header("idempotency_key", "a", "idempotency_key", "b"), "b"},
		"header, bytes as they are":     {byHeader, header("idempotency_key", " \xff"), " \xff"},
		"header, missing":               {byHeader, header("x", "1"), ""},
		"header, in another case":       {byHeader, header("Idempotency_Key", "a"), ""},
		"header, empty":                 {byHeader, header("idempotency_key", ""), ""},
		"header, the last one is empty": {byHeader, header("idempotency_key", "a", "idempotency_key", ""), ""},

		"place": {kafkaadapter.TopicPartitionOffset(), kafka.Message{Topic: "a-b", Partition: 3, Offset: 42}, "a-b-3-42"},

		"hash":            {kafkaadapter.ContentHash(), value("abc"), "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		"hash, tombstone": {kafkaadapter.ContentHash(), kafka.Message{Key: []byte("k")}, ""},
		"hash, empty":     {kafkaadapter.ContentHash(), value(""), ""},

		"field":                          {field, value(`{"a":[1,{"id":2}],"id":"x","b":1}`), "x"},
		"field, nested":                  {nested, value(`{"id":1,"order":{"lines":[{"id":1}],"id":"x"}}`), "x"},
		"field, number":                  {field, value(`{"id":42}`), "42"},
		"field, large number":            {field, value(`{"id":12345678901234567890123}`), "12345678901234567890123"},
		"field, number as it is written": {field, value(`{"id":1.0}`), "1.0"},
		"field, escapes":                 {field, value(`{"\u0069d":"\u00e9"}`), "é"},
		"field, first of two":            {field, value(`{"id":"a","id":"b"}`), "a"},
		"field, rest is not looked at":   {field, value(`{"id":"a",`), "a"},
		"field, missing":                 {field, value(`{"ID":"a"}`), ""},
		"field, not there but nested":    {field, value(`{"order":{"id":"a"}}`), ""},
		"field, null":                    {field, value(`{"id":null}`), ""},
		"field, true":                    {field, value(`{"id":true}`), ""},
		"field, empty":                   {field, value(`{"id":""}`), ""},
		"field, object":                  {field, value(`{"id":{"id":"a"}}`), ""},
		"field, array":                   {field, value(`{"id":["a"]}`), ""},
		"field, in an array":             {nested, value(`{"order":[{"id":"a"}]}`), ""},
		"field, of a string":             {nested, value(`{"order":"a"}`), ""},
		"field, no object":               {field, value(`"id"`), ""},
		"field, no JSON":                 {field, value("\x00\x01"), ""},
		"field, cut off":                 {field, value(`{"a":1,"i`), ""},
		"field, nothing":                 {field, value(""), ""},
		"field, tombstone":               {field, kafka.Message{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := test.strategy(test.record)
			if got != test.want || (test.want == "") != errors.Is(err, kafkaadapter.ErrNoEventID) || (err != nil) != (test.want == "") {
				t.Errorf("got %q, %v; want %q", got, err, test.want)
			}
		})
	}
}

// A place is an id of its own even though topics may contain what separates its parts.
func TestPlacesDiffer(t *testing.T) {
	t.Parallel()
	seen := make(map[string]string)
	strategy := kafkaadapter.TopicPartitionOffset()
	for _, topic := range []string{"a", "a-1", "a-1-1", "1", "1-1", "a-1-11"} {
		for _, partition := range []int{0, 1, 11, 111} {
			for _, offset := range []int64{0, 1, 11, 111} {
				id, err := strategy(kafka.Message{Topic: topic, Partition: partition, Offset: offset})
				place := fmt.Sprint(topic, " ", partition, " ", offset)
				if other, ok := seen[id]; ok || err != nil {
					t.Errorf("%s and %s have the id %s, %v", place, other, id, err)
				}
				seen[id] = place
			}
		}
	}
}

func FuzzPayloadField(f *testing.F) {
	f.Add("order.id", []byte(`{"order":{"id":"a"}}`))
	f.Add("a", []byte(strings.Repeat(`{"a":`, 100)))
	f.Fuzz(func(t *testing.T, path string, value []byte) {
		id, err := kafkaadapter.PayloadField(path)(kafka.Message{Value: value})
		if (err == nil) == (id == "") {
			t.Fatalf("%q, %v", id, err)
		}
	})
}

package kafkaadapter_test

import (
	"errors"
	"testing"

	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/kafkaadapter"
)

// FuzzEventID holds every strategy to this, whatever is in a record: no panic, an id or
// ErrNoEventID but not both, and the same answer when asked again.
func FuzzEventID(f *testing.F) {
	f.Add("content-type", []byte(jsonEvent+"; charset=UTF-8"), "ce_id", []byte("1"), []byte("k"), []byte(`{"source":"/a","id":"A1"}`))
	f.Add("ce_source", []byte("/a"), "ce_id", []byte("1"), []byte(nil), []byte(nil))
	f.Add("id", []byte(`"\ud800"`), "id", []byte(`"a`), []byte(nil), []byte(`{"order":{"id":1e999}}`))
	f.Add("_watermill_message_uuid", []byte("u"), "idempotency_key", []byte("\xff\x00"), []byte{}, []byte(`{"a":[[[[`))

	strategies := map[string]kafkaadapter.EventID{
		"Header":               kafkaadapter.Header(kafkaadapter.DefaultEventIDHeader),
		"TopicPartitionOffset": kafkaadapter.TopicPartitionOffset(),
		"PayloadField":         kafkaadapter.PayloadField("id"),
		"PayloadField, nested": kafkaadapter.PayloadField("order.id"),
		"ContentHash":          kafkaadapter.ContentHash(),
		"ContentHash, parts":   kafkaadapter.ContentHash(kafkaadapter.WithKey(), kafkaadapter.WithHeaders("id", "content-type")),
		"CloudEvents":          kafkaadapter.CloudEvents(),
		"DebeziumOutbox":       kafkaadapter.DebeziumOutbox(),
		"Watermill":            kafkaadapter.Watermill(),
		"FirstOf":              kafkaadapter.FirstOf(kafkaadapter.CloudEvents(), kafkaadapter.DebeziumOutbox(), kafkaadapter.PayloadField("id")),
		"FirstOf, nothing":     kafkaadapter.FirstOf(),
	}
	f.Fuzz(func(t *testing.T, name1 string, value1 []byte, name2 string, value2, key, value []byte) {
		record := kafka.Message{
			Key: key, Value: value,
			Headers: []kafka.Header{{Key: name1, Value: value1}, {Key: name2, Value: value2}},
		}
		for name, strategy := range strategies {
			id, err := strategy(record)
			if (err == nil) == (id == "") || (err != nil && !errors.Is(err, kafkaadapter.ErrNoEventID)) {
				t.Errorf("%s: %q, %v", name, id, err)
			}
			if again, _ := strategy(record); again != id {
				t.Errorf("%s: %q, then %q", name, id, again)
			}
		}
	})
}

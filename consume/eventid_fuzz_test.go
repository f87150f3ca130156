package consume_test

import (
	"errors"
	"testing"

	"github.com/nova-events/idempotent-consumer/consume"
)

// FuzzEventID holds every strategy to this, whatever is in a record: no panic, an id or
// ErrNoEventID but not both, and the same answer when asked again.
func FuzzEventID(f *testing.F) {
	f.Add("content-type", []byte(jsonEvent+"; charset=UTF-8"), "ce_id", []byte("1"), []byte("k"), []byte(`{"source":"/a","id":"A1"}`))
	f.Add("ce_source", []byte("/a"), "ce_id", []byte("1"), []byte(nil), []byte(nil))
	f.Add("id", []byte(`"\ud800"`), "id", []byte(`"a`), []byte(nil), []byte(`{"order":{"id":1e999}}`))
	f.Add("_watermill_message_uuid", []byte("u"), "idempotency_key", []byte("\xff\x00"), []byte{}, []byte(`{"a":[[[[`))

	strategies := map[string]consume.EventID{
		"Header":               consume.Header(consume.DefaultEventIDHeader),
		"TopicPartitionOffset": consume.TopicPartitionOffset(),
		"PayloadField":         consume.PayloadField("id"),
		"PayloadField, nested": consume.PayloadField("order.id"),
		"ContentHash":          consume.ContentHash(),
		"ContentHash, parts":   consume.ContentHash(consume.WithKey(), consume.WithHeaders("id", "content-type")),
		"CloudEvents":          consume.CloudEvents(),
		"DebeziumOutbox":       consume.DebeziumOutbox(),
		"Watermill":            consume.Watermill(),
		"FirstOf":              consume.FirstOf(consume.CloudEvents(), consume.DebeziumOutbox(), consume.PayloadField("id")),
		"FirstOf, nothing":     consume.FirstOf(),
	}
	f.Fuzz(func(t *testing.T, name1 string, value1 []byte, name2 string, value2, key, value []byte) {
		record := consume.Record{
			Key: key, Value: value,
			Headers: []consume.RecordHeader{{Key: name1, Value: value1}, {Key: name2, Value: value2}},
		}
		for name, strategy := range strategies {
			id, err := strategy(record)
			if (err == nil) == (id == "") || (err != nil && !errors.Is(err, consume.ErrNoEventID)) {
				t.Errorf("%s: %q, %v", name, id, err)
			}
			if again, _ := strategy(record); again != id {
				t.Errorf("%s: %q, then %q", name, id, again)
			}
		}
	})
}

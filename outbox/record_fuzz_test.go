package outbox_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/outbox"
)

// FuzzRecord has a producer get the record that was published, to the byte, or Publish refuse it.
func FuzzRecord(f *testing.F) {
	f.Add("orders", "e", []byte("k"), []byte("v"), "h", []byte("hv"))
	f.Add("a b", "a\x00b", []byte(nil), []byte(nil), "", []byte(nil))
	f.Add("t", `'; --`, []byte{}, []byte("\x00\xff"), "\x00\xff\"\\,{}NULL", []byte{})
	f.Add("..", "\xff", []byte(`\x`), []byte{}, consume.DefaultEventIDHeader, []byte("forged"))
	b := setup(f)
	b.start(f, nil)
	f.Fuzz(func(t *testing.T, topic, eventID string, key, value []byte, header string, content []byte) {
		r := outbox.Record{Topic: topic, EventID: eventID, Key: key, Value: value, Headers: []consume.RecordHeader{{Key: header, Value: content}, {Key: header}}}
		err := pgx.BeginFunc(t.Context(), b.pool, func(tx pgx.Tx) error { return outbox.Publish(t.Context(), tx, r) })
		if errors.Is(err, outbox.ErrInvalidRecord) {
			return
		}
		if err != nil {
			t.Fatalf("%+v: %v", r, err)
		}
		b.await(t, 1)
		var got outbox.Record
		b.log.set(func(l *topicLog) { got, l.records = l.records[0], l.records[1:] })
		sent := slices.DeleteFunc(r.Headers, func(h consume.RecordHeader) bool { return h.Key == consume.DefaultEventIDHeader })
		id := slices.IndexFunc(got.Headers, func(h consume.RecordHeader) bool { return h.Key == consume.DefaultEventIDHeader })
		if id < 0 || eventID != "" && string(got.Headers[id].Value) != eventID {
			t.Fatalf("%q: the header of the event id is missing or another: %+v", eventID, got.Headers)
		}
		got.Headers = slices.Delete(got.Headers, id, id+1)
		if got.Topic != topic || !bytes.Equal(got.Key, key) || !bytes.Equal(got.Value, value) || (got.Value == nil) != (value == nil) ||
			!slices.EqualFunc(got.Headers, sent, func(a, b consume.RecordHeader) bool { return a.Key == b.Key && bytes.Equal(a.Value, b.Value) }) {
			t.Errorf("produced %+v, published %+v", got, r)
		}
	})
}

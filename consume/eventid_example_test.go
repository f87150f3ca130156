package consume_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/nova-events/idempotent-consumer/consume"
)

// An id of the business's own: the key names the account, the value begins with a number that
// counts the account's bookings.
func ExampleEventID() {
	booking := func(record consume.Record) (string, error) {
		if len(record.Key) == 0 || len(record.Value) < 8 {
			return "", fmt.Errorf("%w: not a booking", consume.ErrNoEventID)
		}

		return strconv.FormatUint(binary.BigEndian.Uint64(record.Value), 10) + "@" + string(record.Key), nil
	}
	config := consume.Config{EventID: booking}

	fmt.Println(config.EventID(consume.Record{Key: []byte("alice"), Value: []byte("\x00\x00\x00\x00\x00\x00\x00\x07...")}))
	// Output: 7@alice <nil>
}

func ExamplePayloadField() {
	strategy := consume.PayloadField("order.id")

	fmt.Println(strategy(consume.Record{Value: []byte(`{"order":{"id":9007199254740993}}`)}))
	fmt.Println(strategy(consume.Record{Value: []byte(`{"order":{"id":null}}`)}))
	// Output:
	// 9007199254740993 <nil>
	//  no event id: the field "order.id" of the payload: it is neither a string nor a number
}

// Orders and refunds are numbered from 1 each.
func ExampleInTopic() {
	strategy := consume.InTopic(consume.PayloadField("id"))

	fmt.Println(strategy(consume.Record{Topic: "orders", Value: []byte(`{"id":1}`)}))
	fmt.Println(strategy(consume.Record{Topic: "refunds", Value: []byte(`{"id":1}`)}))
	// Output:
	// 6:orders:1 <nil>
	// 7:refunds:1 <nil>
}

// The same content for two customers is two events here, because the key tells them apart.
func ExampleContentHash() {
	strategy := consume.ContentHash(consume.WithKey(), consume.WithHeaders("type"))

	alice, _ := strategy(consume.Record{Key: []byte("alice"), Value: []byte(`{"amount":10}`)})
	bob, _ := strategy(consume.Record{Key: []byte("bob"), Value: []byte(`{"amount":10}`)})
	fmt.Println(alice != bob)
	// Output: true
}

// An event has one id, whichever mode its producer uses.
func ExampleCloudEvents() {
	strategy := consume.CloudEvents()
	binary := consume.Record{Headers: []consume.RecordHeader{
		{Key: "ce_source", Value: []byte("/orders")},
		{Key: "ce_id", Value: []byte("A234")},
	}}
	structured := consume.Record{
		Headers: []consume.RecordHeader{{Key: "content-type", Value: []byte("application/cloudevents+json; charset=UTF-8")}},
		Value:   []byte(`{"specversion":"1.0","source":"/orders","id":"A234","type":"paid"}`),
	}

	fmt.Println(strategy(binary))
	fmt.Println(strategy(structured))
	// Output:
	// 7:/orders:A234 <nil>
	// 7:/orders:A234 <nil>
}

// A topic whose older producers send no header.
func ExampleFirstOf() {
	strategy := consume.FirstOf(
		consume.Header("idempotency_key"),
		consume.PayloadField("id"),
	)

	fmt.Println(strategy(consume.Record{Headers: []consume.RecordHeader{{Key: "idempotency_key", Value: []byte("k-1")}}}))
	fmt.Println(strategy(consume.Record{Value: []byte(`{"id":42}`)}))
	_, err := strategy(consume.Record{Value: []byte(`{}`)})
	fmt.Println(err)
	fmt.Println(errors.Is(err, consume.ErrNoEventID))
	// Output:
	// k-1 <nil>
	// 42 <nil>
	// no event id: there is no header "idempotency_key"; no event id: the field "id" of the payload: it does not exist
	// true
}

package kafkaadapter_test

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/kafkaadapter"
)

func TestContentHash(t *testing.T) {
	t.Parallel()
	const abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	plain := kafkaadapter.ContentHash()
	all := kafkaadapter.ContentHash(kafkaadapter.WithKey(), kafkaadapter.WithHeaders("type"))
	full := kafka.Message{Key: []byte("k"), Value: []byte("abc"), Headers: []kafka.Header{{Key: "type", Value: []byte("T")}, {Key: "type"}}}
	testIDs(t, map[string]idCase{
		"value":                        {plain, value("abc"), abc, ""},
		"value alone":                  {plain, full, abc, ""},
		"nothing but the value chosen": {kafkaadapter.ContentHash(kafkaadapter.WithHeaders(), kafkaadapter.HashPart{}), full, abc, ""},
		"documented bytes":             {all, full, documentedHash(), ""},
		"tombstone":                    {plain, kafka.Message{Key: []byte("k")}, "", "the record has no value to hash"},
		"empty value":                  {plain, value(""), "", "no value to hash"},
		"tombstone with parts":         {all, kafka.Message{Key: []byte("k"), Headers: full.Headers}, "", "no value to hash"},
	})
}

// documentedHash spells out what ContentHash's comment says.
func documentedHash() string {
	const zeros = "\x00\x00\x00\x00\x00\x00\x00"
	sum := sha256.Sum256([]byte(zeros + "\x03key" + zeros + "\x01k" +
		zeros + "\x06header" + zeros + "\x04type" + zeros + "\x02" + zeros + "\x01T" + "\xff\xff\xff\xff\xff\xff\xff\xff" +
		zeros + "\x03abc"))

	return "sha256-parts:" + hex.EncodeToString(sum[:])
}

func TestContentHashesDiffer(t *testing.T) {
	t.Parallel()
	record := func(key, value []byte, headers ...kafka.Header) kafka.Message {
		return kafka.Message{Key: key, Value: value, Headers: headers}
	}
	header := func(name, value string) kafka.Header { return kafka.Header{Key: name, Value: []byte(value)} }
	v := []byte("v")
	seen := make(map[string]string)
	strategy := kafkaadapter.ContentHash(kafkaadapter.WithKey(), kafkaadapter.WithHeaders("a", "b"))
	for name, m := range map[string]kafka.Message{
		"no key":               record(nil, v),
		"empty key":            record([]byte{}, v),
		"key":                  record([]byte("k"), v),
		"key and value moved":  record([]byte("kv"), []byte("k")),
		"empty header":         record(nil, v, header("a", "")),
		"null header":          record(nil, v, kafka.Header{Key: "a"}),
		"other empty header":   record(nil, v, header("b", "")),
		"header":               record(nil, v, header("a", "x")),
		"header twice":         record(nil, v, header("a", "x"), header("a", "x")),
		"header of two halves": record(nil, v, header("a", "x"), header("a", "")),
		"headers":              record(nil, v, header("a", "x"), header("b", "y")),
		"headers exchanged":    record(nil, v, header("a", "y"), header("b", "x")),
		"headers in one":       record(nil, v, header("a", "xb\x01y")),
		"values in order":      record(nil, v, header("a", "x"), header("a", "y")),
		"values out of order":  record(nil, v, header("a", "y"), header("a", "x")),
	} {
		id, err := strategy(m)
		if other, ok := seen[id]; ok || err != nil {
			t.Errorf("%s and %s have the id %s, %v", name, other, id, err)
		}
		seen[id] = name
	}
}

// What is chosen makes the id, not how it was written down.
func TestContentHashPartsHaveNoOrder(t *testing.T) {
	t.Parallel()
	key, with := kafkaadapter.WithKey(), kafkaadapter.WithHeaders
	record := headers("b", "2", "other", "3", "a", "1")
	record.Value = []byte("v")
	names := []string{"a", "b"}
	part := with(names...)
	names[0] = "changed afterwards"
	first := kafkaadapter.ContentHash(key, part)
	want, err := first(record)
	if err != nil {
		t.Fatal(err)
	}
	for i, strategy := range []kafkaadapter.EventID{
		kafkaadapter.ContentHash(with("b", "a"), key),
		kafkaadapter.ContentHash(with("b"), key, with("a", "b"), key),
	} {
		if got, err := strategy(record); got != want || err != nil {
			t.Errorf("%d: got %s, %v; want %s", i, got, err, want)
		}
	}
	if got, _ := kafkaadapter.ContentHash(with("a", "b"))(record); got == want {
		t.Error("the key makes no difference")
	}
}

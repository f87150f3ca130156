package consume_test

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/nova-events/idempotent-consumer/consume"
)

func TestContentHash(t *testing.T) {
	t.Parallel()
	const abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	plain := consume.ContentHash()
	all := consume.ContentHash(consume.WithKey(), consume.WithHeaders("type"))
	full := consume.Record{Key: []byte("k"), Value: []byte("abc"), Headers: []consume.RecordHeader{{Key: "type", Value: []byte("T")}, {Key: "type"}}}
	testIDs(t, map[string]idCase{
		"value":                        {plain, value("abc"), abc, ""},
		"value alone":                  {plain, full, abc, ""},
		"nothing but the value chosen": {consume.ContentHash(consume.WithHeaders(), consume.HashPart{}), full, abc, ""},
		"documented bytes":             {all, full, documentedHash(), ""},
		"tombstone":                    {plain, consume.Record{Key: []byte("k")}, "", "the record has no value to hash"},
		"empty value":                  {plain, value(""), "", "no value to hash"},
		"tombstone with parts":         {all, consume.Record{Key: []byte("k"), Headers: full.Headers}, "", "no value to hash"},
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
	record := func(key, value []byte, headers ...consume.RecordHeader) consume.Record {
		return consume.Record{Key: key, Value: value, Headers: headers}
	}
	header := func(name, value string) consume.RecordHeader {
		return consume.RecordHeader{Key: name, Value: []byte(value)}
	}
	v := []byte("v")
	seen := make(map[string]string)
	strategy := consume.ContentHash(consume.WithKey(), consume.WithHeaders("a", "b"))
	for name, m := range map[string]consume.Record{
		"no key":               record(nil, v),
		"empty key":            record([]byte{}, v),
		"key":                  record([]byte("k"), v),
		"key and value moved":  record([]byte("kv"), []byte("k")),
		"empty header":         record(nil, v, header("a", "")),
		"null header":          record(nil, v, consume.RecordHeader{Key: "a"}),
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
	key, with := consume.WithKey(), consume.WithHeaders
	record := headers("b", "2", "other", "3", "a", "1")
	record.Value = []byte("v")
	names := []string{"a", "b"}
	part := with(names...)
	names[0] = "changed afterwards"
	first := consume.ContentHash(key, part)
	want, err := first(record)
	if err != nil {
		t.Fatal(err)
	}
	for i, strategy := range []consume.EventID{
		consume.ContentHash(with("b", "a"), key),
		consume.ContentHash(with("b"), key, with("a", "b"), key),
	} {
		if got, err := strategy(record); got != want || err != nil {
			t.Errorf("%d: got %s, %v; want %s", i, got, err, want)
		}
	}
	if got, _ := consume.ContentHash(with("a", "b"))(record); got == want {
		t.Error("the key makes no difference")
	}
}

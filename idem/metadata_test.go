package idem_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nova-events/idempotent-consumer/idem"
)

// What jsonb cannot hold is refused before the transaction begins; nothing that passes may
// then fail in it.
func TestMetadataIsStoredOrRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	nested := func(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }
	for text, wantRefused := range map[string]bool{
		`"\u0000"`:                             true,
		`{"a\u0000": 1}`:                       true,
		`"\\u0000"`:                            false, // no NUL but a backslash and five letters
		`"\ud800"`:                             false,
		`"\udc00\ud800 \ud83d\ude00"`:          false,
		`1e308`:                                false,
		`1e309`:                                true,
		`-1e400000`:                            true,
		`1e-300`:                               false,
		`1e-400000`:                            true,
		`0e99999999999`:                        true,
		`0.` + strings.Repeat("0", 20000):      true,
		`0.` + strings.Repeat("1", 900):        false,
		nested(900):                            false,
		nested(20000):                          true,
		`{"a": 1, "a": 2}`:                     false,
		`"` + strings.Repeat("x", 60000):       true, // not JSON
		`"` + strings.Repeat("é", 30000) + `"`: false,
		"\"\xff\"":                             true,
	} {
		id := fmt.Sprintf("%.40q (%d bytes)", text, len(text))
		got, err := b.guard.ProcessIfNew(t.Context(), id, effect(id), idem.WithMetadata(idem.Metadata{User: json.RawMessage(text)}))
		switch {
		case wantRefused && !errors.Is(err, idem.ErrInvalidMetadata):
			t.Errorf("%s: got %v, %v; want it refused", id, got, err)
		case !wantRefused && (err != nil || got != idem.Processed):
			t.Errorf("%s: got %v, %v; want it stored", id, got, err)
		}
		b.wantProcessed(t, id, !wantRefused)
	}
}

// A record's own fields come from a producer, so they must not keep it from being processed.
func TestMetadataOfHostileRecords(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i, m := range []idem.Metadata{
		{ProducerTime: time.UnixMilli(1<<63 - 1)},
		{ProducerTime: time.UnixMilli(-1 << 62)},
		{ProducerTime: time.UnixMilli(-1)},
		{Key: []byte("a\x00b")},
		{Key: []byte("\xed\xa0\x80")}, // half of a surrogate pair
		{Key: []byte("\ufffe\uffff")},
		{Topic: "t", Partition: -1, Offset: -1},
	} {
		id := strconv.Itoa(i)
		got, err := b.guard.ProcessIfNew(t.Context(), id, effect(id), idem.WithMetadata(m))
		want(t, fmt.Sprintf("%+v", m), got, err, idem.Processed)
	}
}

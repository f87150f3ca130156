package idem_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/nova-events/idempotent-consumer/idem"
)

// hostileIDs are event ids that two implementations of one key function may disagree about.
func hostileIDs() []string {
	ids := []string{
		"a", " ", "\n", "'", `\`, `\x00`, "%s", "é", "é", "\u200b", "\U0010FFFF", "\ufeffid", strings.Repeat("é", 2000),
		"00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff",
		"0190b5a5-7e4c-7000-8000-000000000001", "0190B5A5-7E4C-7000-8000-000000000001",
		"0190b5a57e4c70008000000000000001", "{0190b5a5-7e4c-7000-8000-000000000001}",
		"0190b5a5-7e4c-7000-8000-000000000001\n", "\n0190b5a5-7e4c-7000-8000-000000000001",
		"0190b5a5-7e4c-7000-8000-00000000000g", "0190b5a5-7e4c-7000-8000-00000000000é",
		"0190b5a5-7e4c-8000-8000-000000000001", "0190b5a5-7e4c-8000-0000-000000000001",
		"0190b5a5x7e4c-7000-8000-000000000001", "urn:uuid:0190b5a5-7e4c-7000-8000-000000000001",
		"0190b5a5-7e4c-٧000-8000-0000000000", "０190b5a5-7e4c-7000-8000-00000000001",
	}
	for range 2000 {
		id := uuid.New()
		id[6] = uuid.New()[0]
		ids = append(ids, id.String())
		text := make([]rune, rand.IntN(40)+1)
		for i := range text {
			for text[i] == 0 || text[i] >= 0xd800 && text[i] < 0xe000 {
				text[i] = rand.Int32N(0x110000)
			}
		}
		ids = append(ids, string(text))
		ids = append(ids, idem.Key(string(text)).String()) // another event's key as an id
	}

	return ids
}

func TestKeyIsTheSameInSQL(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ids := hostileIDs()
	rows, err := b.pool.Query(t.Context(),
		`SELECT idem.event_key(id)::text FROM pg_catalog.unnest($1::text[]) WITH ORDINALITY AS t(id, n) ORDER BY n`, ids)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for _, id := range ids {
		var got string
		if !rows.Next() {
			t.Fatal("too few rows", rows.Err())
		}
		if err := rows.Scan(&got); err != nil {
			t.Fatal(err)
		}
		if want := idem.Key(id).String(); got != want {
			t.Errorf("event_key(%q) is %s, Key says %s", id, got, want)
		}
	}
}

func TestKey(t *testing.T) {
	t.Parallel()
	own := "0190b5a5-7e4c-7000-8000-000000000001"
	if got := idem.Key(own).String(); got != own {
		t.Errorf("a canonical UUID has the key %s", got)
	}
	// Vectors that other implementations can be held against.
	for id, key := range map[string]string{
		"order-1":                              "0bafe221-56d2-898c-943b-86040446d366",
		"0190B5A5-7E4C-7000-8000-000000000001": "58b8e2fc-dc71-8c65-9ecb-5107e24bd111",
	} {
		if got := idem.Key(id); got.String() != key || got.Version() != 8 || got.Variant() != uuid.RFC4122 {
			t.Errorf("Key(%q) is %v, want %s", id, got, key)
		}
	}
	// Whoever knows an event's key must not be able to claim it by that key.
	for _, id := range hostileIDs() {
		if key := idem.Key(id); key.String() != id && idem.Key(key.String()) == key {
			t.Fatalf("the key of %q, sent as an event id, has the same key", id)
		}
	}
}

func FuzzKeyIsInjective(f *testing.F) {
	f.Add("a", "b")
	f.Add("0190b5a5-7e4c-7000-8000-000000000001", "0190B5A5-7E4C-7000-8000-000000000001")
	f.Fuzz(func(t *testing.T, a, b string) {
		if a != b && idem.Key(a) == idem.Key(b) {
			t.Fatalf("%q and %q have one key", a, b)
		}
	})
}

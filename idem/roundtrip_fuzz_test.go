package idem_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/ops"
)

func done(context.Context, pgx.Tx) error { return nil }

// FuzzEvent has the tables know an event by its id and by its payload, or the guard refuse the id.
func FuzzEvent(f *testing.F) {
	for _, id := range []string{"", "a\x00b", "\xff", `'; DROP TABLE "x" --`, `\'`, "{a,b}", "NULL", "é\u200b", strings.Repeat("x", idem.MaxEventIDBytes+1)} {
		f.Add(id, []byte(id))
	}
	f.Add("0190b5a5-7e4c-7000-8000-000000000001", []byte(nil))
	pool := pgtest.NewDB(f).Pool(f)
	guard, err := idem.New(pool, idem.Config{Consumer: "orders"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, id string, payload []byte) {
		fingerprint, another := idem.WithFingerprint(idem.FingerprintOf(payload)), idem.WithFingerprint(idem.FingerprintOf(append(payload, 'x')))
		outcome, err := guard.ProcessIfNew(t.Context(), id, done, fingerprint)
		valid := id != "" && len(id) <= idem.MaxEventIDBytes && utf8.ValidString(id) && !strings.ContainsRune(id, 0)
		if !valid {
			if outcome != 0 || !errors.Is(err, idem.ErrInvalidEventID) {
				t.Fatalf("%q: %v, %v", id, outcome, err)
			}

			return
		}
		want(t, "first", outcome, err, idem.Processed)
		again := func(context.Context, pgx.Tx) error { panic("the handler ran twice") }
		outcome, err = guard.ProcessIfNew(t.Context(), id, again, fingerprint)
		want(t, "second", outcome, err, idem.AlreadyProcessed)
		if _, err := guard.ProcessIfNew(t.Context(), id, again, another); !errors.As(err, new(*idem.CollisionError)) {
			t.Errorf("%q with another payload: %v", id, err)
		}
		record, err := guard.Lookup(t.Context(), id)
		if err != nil || record.EventID != id {
			t.Errorf("%q: looked up %+v, %v", id, record, err)
		}
		if n, err := guard.Forget(t.Context(), id); n != 1 || err != nil {
			t.Errorf("%q: forgotten %d, %v", id, n, err)
		}
	})
}

// FuzzDeadLetter has a replay get the record that was stored, to the byte, after an operator has seen it.
func FuzzDeadLetter(f *testing.F) {
	f.Add("orders", "e", []byte("k"), []byte("v"), "h", []byte("hv"), "refused")
	f.Add("o", "a\x00b", []byte(nil), []byte(nil), "", []byte(nil), "")
	f.Add(`"; --`, "\xff", []byte{}, []byte{}, "\x00\xff", []byte{}, "\x00\xff\x1b[2J")
	f.Add("", "e", []byte("k"), []byte("v"), "h", []byte("hv"), "refused")
	f.Add("t", `{"a",NULL}`, []byte(`\x`), []byte("\x00"), `"\`, []byte(`{}`), strings.Repeat("é", 3000))
	pool := pgtest.NewDB(f).Pool(f)
	guard, err := idem.New(pool, idem.Config{Consumer: "orders"})
	if err != nil {
		f.Fatal(err)
	}
	client, err := ops.New(pool, ops.Config{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, topic, eventID string, key, value []byte, header string, content []byte, reason string) {
		stored := idem.DeadLetter{
			Partition: idem.Partition{Topic: topic, Number: 3}, Offset: 7, Key: key, Value: value, EventID: eventID, Attempts: 2, Error: reason,
			Headers: []idem.DeadLetterHeader{{Key: header, Value: content}, {Key: header, Value: nil}},
		}
		for _, table := range []string{"processed_events", "dead_letters"} { // The one before may have its id, and may have failed.
			if _, err := pool.Exec(t.Context(), `DELETE FROM idem.`+table); err != nil {
				t.Fatal(err)
			}
		}
		owner := guard.Unfenced(stored.Partition)
		outcome, err := owner.StoreDeadLetter(t.Context(), stored)
		if !utf8.ValidString(topic) || strings.ContainsRune(topic, 0) || topic == "" {
			if err == nil {
				t.Fatalf("a topic %q: %v", topic, outcome)
			}

			return // Kafka has no such topics.
		}
		want(t, "store", outcome, err, idem.Processed)
		if idem.CheckEventID(eventID) != nil {
			stored.EventID = ""
		}
		list, err := client.DeadLetters(t.Context(), ops.DeadLetterFilter{Consumer: "orders", Topic: topic, EventID: stored.EventID, States: []idem.DeadLetterState{idem.DeadLetterOpen}})
		if err != nil || len(list) != 1 || (list[0].EventID != nil) != (stored.EventID != "") || !utf8.ValidString(list[0].Error) {
			t.Fatalf("listed %+v, %v", list, err)
		}
		shown, err := client.DeadLetter(t.Context(), list[0].ID.String())
		if err != nil || !bytes.Equal(shown.Value, value) || !bytes.Equal(shown.Key, key) {
			t.Fatalf("shown %+v, %v", shown, err)
		}
		if _, err := client.ReplayDeadLetters(t.Context(), ops.DeadLetterPlan{DeadLetters: list}, nil); err != nil {
			t.Fatal(err)
		}
		got, err := owner.NextDeadLetter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !same(got.Key, key) || !same(got.Value, value) || got.EventID != stored.EventID || got.Partition != stored.Partition || got.Offset != stored.Offset ||
			!slices.EqualFunc(got.Headers, stored.Headers, func(a, b idem.DeadLetterHeader) bool { return a.Key == b.Key && same(a.Value, b.Value) }) {
			t.Errorf("replayed %+v, stored %+v", got, stored)
		}
		outcome, err = owner.Replay(t.Context(), got, done)
		want(t, "replay", outcome, err, idem.Processed)
	})
}

// same reports whether two slices are equal, and nil both or none.
func same(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }

package ops_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/ops"
)

func (b *bundle) explain(t *testing.T, consumer, eventID string) ops.Story {
	t.Helper()
	s, err := b.client.Explain(t.Context(), consumer, eventID)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSortedFunc(s.Entries, func(a, b ops.Entry) int { return a.At.Compare(b.At) }) {
		t.Errorf("the entries are in no order: %+v", s.Entries)
	}

	return s
}

// tells checks the kinds of a story's entries and what their texts hold, in their order.
func tells(t *testing.T, s ops.Story, want ...[2]string) {
	t.Helper()
	if len(s.Entries) != len(want) {
		t.Fatalf("%d entries, want %d: %+v", len(s.Entries), len(want), s.Entries)
	}
	for i, e := range s.Entries {
		if string(e.Kind) != want[i][0] || !strings.Contains(e.Text, want[i][1]) {
			t.Errorf("entry %d is %s, %q; want %s, %q", i, e.Kind, e.Text, want[i][0], want[i][1])
		}
	}
}

func nothing(context.Context, pgx.Tx) error { return nil }

func (b *bundle) acquire(t *testing.T) *idem.Owner {
	t.Helper()
	owner, err := b.guard.Acquire(t.Context(), partition, idem.AcquireOptions{})
	if err != nil {
		t.Fatal(err)
	}

	return owner
}

func TestStoryOfAProcessedEvent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	owner := b.acquire(t)
	event := idem.Event{
		ID: "4711", Offset: 7, Fingerprint: idem.FingerprintOf([]byte("v")),
		Metadata: &idem.Metadata{Topic: "orders", Partition: 3, Offset: 7},
	}
	if _, err := owner.Process(t.Context(), event, nothing); err != nil {
		t.Fatal(err)
	}
	s := b.explain(t, "", "4711")
	tells(t, s, [2]string{"processed", "; record at offset 7 of partition 3 of orders; fingerprint of its value "},
		[2]string{"checkpoint", "is at 8. The record at 7 is before it"}, [2]string{"forgotten", "retention 7d"})
	if e := s.Events[0]; e.Fingerprint == nil || !strings.Contains(s.Entries[0].Text, *e.Fingerprint) || !strings.Contains(s.Entries[0].Text, e.ClaimID.String()) || s.Key != idem.Key("4711") {
		t.Errorf("%+v", s)
	}

	// An operator has set the checkpoint back: the record comes again.
	b.exec(t, `UPDATE idem.checkpoints SET next_offset = 7`)
	tells(t, b.explain(t, "orders", "4711"), [2]string{"processed", ""}, [2]string{"checkpoint", "The record at 7 is not before it"}, [2]string{"forgotten", ""})
	b.exec(t, `DELETE FROM idem.checkpoints; UPDATE idem.processed_events SET processed_at = now() - interval '8 days'`)
	tells(t, b.explain(t, "orders", "4711"), [2]string{"processed", ""}, [2]string{"forgotten", "Since then"}, [2]string{"checkpoint", "There is no checkpoint"})
}

func TestStoryOfDeadLetters(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.store(t, 2)
	parked := b.explain(t, "orders", "e1")
	tells(t, parked, [2]string{"parked", "behind another one of its key"}, [2]string{"marked", "the handler has not taken effect"},
		[2]string{"waiting", "waits for dead letter " + b.explain(t, "", "e0").DeadLetters[0].ID.String()}, [2]string{"checkpoint", "no checkpoint"}, [2]string{"forgotten", ""})
	open := b.explain(t, "orders", "e0")
	tells(t, open, [2]string{"failed", "after 0 attempts: refused"}, [2]string{"marked", ""}, [2]string{"waiting", "idemctl deadletter replay " + open.DeadLetters[0].ShortID}, [2]string{"checkpoint", ""}, [2]string{"forgotten", ""})
	if open.Entries[0].DeadLetter == nil || *open.Entries[0].DeadLetter != open.DeadLetters[0].ID {
		t.Errorf("%+v", open.Entries[0])
	}

	// A replay fails later, the next one takes effect.
	owner := b.guard.Unfenced(partition)
	replay := func() idem.DeadLetter {
		b.exec(t, `UPDATE idem.dead_letters SET state = 'replay' WHERE event_id = 'e0'`)
		letter, err := owner.NextDeadLetter(t.Context())
		if err != nil {
			t.Fatal(err)
		}

		return letter
	}
	if err := owner.ReopenDeadLetter(t.Context(), replay(), 3, errors.New("no stock\x1b[2J")); err != nil {
		t.Fatal(err)
	}
	b.exec(t, `UPDATE idem.dead_letters SET failed_at = now() + interval '1 minute' WHERE event_id = 'e0'`)
	tells(t, b.explain(t, "orders", "e0"), [2]string{"failed", "dated by the clock of who did"}, [2]string{"marked", ""}, [2]string{"waiting", ""}, [2]string{"checkpoint", ""},
		[2]string{"failed", `for the last time, after 3 attempts: "no stock\x1b[2J"`}, [2]string{"forgotten", ""})
	b.exec(t, `UPDATE idem.dead_letters SET failed_at = now() WHERE event_id = 'e0'`)
	if _, err := owner.Replay(t.Context(), replay(), nothing); err != nil {
		t.Fatal(err)
	}
	s := b.explain(t, "orders", "e0")
	for _, e := range s.Entries {
		if e.Kind == ops.EntryMarked || e.Kind == ops.EntryWaiting {
			t.Errorf("%+v", e)
		}
	}
	if kinds := kindsOf(s); !strings.Contains(kinds, "processed") || !strings.Contains(kinds, "replayed") {
		t.Error(kinds)
	}
	for state, want := range map[string]string{"discarded": "gave dead letter", "superseded": "another delivery", "expired": "not in Kafka any more"} {
		b.exec(t, `UPDATE idem.dead_letters SET state = '`+state+`', resolved_at = now() WHERE event_id = 'e1'`)
		s := b.explain(t, "orders", "e1")
		if i := slices.IndexFunc(s.Entries, func(e ops.Entry) bool { return string(e.Kind) == state }); i < 0 || !strings.Contains(s.Entries[i].Text, want) {
			t.Errorf("%s: %+v", state, s.Entries)
		}
	}
}

func kindsOf(s ops.Story) string {
	kinds := make([]string, len(s.Entries))
	for i, e := range s.Entries {
		kinds[i] = string(e.Kind)
	}

	return strings.Join(kinds, " ")
}

// A record that comes with the id of another one and another value has no event id of its own, and a request
// has none until it is processed. Both belong to the story.
func TestStoryOfACollisionAndARequest(t *testing.T) {
	t.Parallel()
	b := setup(t)
	owner := b.acquire(t)
	event := idem.Event{ID: "a (at b", Offset: 0, Fingerprint: idem.FingerprintOf([]byte("v")), Metadata: &idem.Metadata{Topic: "orders", Partition: 3}}
	if _, err := owner.Process(t.Context(), event, nothing); err != nil {
		t.Fatal(err)
	}
	event.Offset, event.Fingerprint = 1, idem.FingerprintOf([]byte("w"))
	_, collision := owner.Process(t.Context(), event, nothing)
	if !errors.As(collision, new(*idem.CollisionError)) {
		t.Fatal(collision)
	}
	if _, err := owner.StoreDeadLetter(t.Context(), idem.DeadLetter{Offset: 1, Value: []byte("w"), Error: collision.Error()}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.client.Reprocess(t.Context(), ops.RecordPlace{Consumer: "orders", Topic: "orders", Partition: 3}); err != nil {
		t.Fatal(err)
	}
	s := b.explain(t, "orders", "a (at b")
	if got := kindsOf(s); len(s.DeadLetters) != 2 || strings.Count(got, "requested") != 1 || strings.Count(got, "failed") != 1 || strings.Count(got, "checkpoint") != 2 {
		t.Errorf("%s: %+v", got, s.Entries)
	}
	// Once it is processed, the request has the id of its event.
	letter, err := owner.NextDeadLetter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	letter.EventID = "a (at b"
	if err := owner.FillDeadLetter(t.Context(), letter); err != nil {
		t.Fatal(err)
	}
	if _, err := owner.Replay(t.Context(), letter, nothing); err != nil {
		t.Fatal(err)
	}
	if got := kindsOf(b.explain(t, "orders", "a (at b")); strings.Count(got, "requested") != 1 || strings.Count(got, "replayed") != 1 || strings.Contains(got, "marked") {
		t.Error(got)
	}
	if other := b.explain(t, "orders", "a"); other.Known() {
		t.Errorf("%+v", other)
	}
}

func TestStoryOfNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, consumer := range []string{"", "orders"} {
		s := b.explain(t, consumer, "4711")
		tells(t, s, [2]string{"unknown", idem.Key("4711").String()})
		if s.Known() || s.Events == nil || s.DeadLetters == nil || s.Leases == nil || s.Results == nil || s.Outbox == nil {
			t.Errorf("%+v", s)
		}
	}
	if _, err := b.guard.MarkProcessed(t.Context(), "4711"); err != nil {
		t.Fatal(err)
	}
	_, err := b.client.Explain(t.Context(), "", idem.Key("4711").String())
	if wantErr(t, "a key", err, ops.ErrInvalid); err != nil && !strings.Contains(err.Error(), "the key under which orders keeps the event 4711") {
		t.Error(err)
	}
	for _, id := range []string{"", strings.Repeat("x", idem.MaxEventIDBytes+1), "\xff"} {
		_, err := b.client.Explain(t.Context(), "", id)
		wantErr(t, "a bad id", err, ops.ErrInvalid)
	}
	_, err = b.client.Explain(t.Context(), "order", "4711")
	wantErr(t, "an unknown consumer", err, ops.ErrUnknownConsumer)
}

// A producer that gives all its records one id makes a dead letter of each.
func TestStoryOfManyDeadLetters(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, `INSERT INTO idem.dead_letters (record_offset, consumer_id, id, key, topic_id, record_partition, attempts, topic, event_id, error)
		SELECT n, c.id, pg_catalog.gen_random_uuid(), idem.event_key('4711'), '00000000-0000-0000-0000-000000000000', 0, 1, 'orders', '4711', 'no'
		FROM idem.consumers c, pg_catalog.generate_series(1, 201) AS n`)
	s := b.explain(t, "orders", "4711")
	more := slices.IndexFunc(s.Entries, func(e ops.Entry) bool { return e.Kind == ops.EntryMore })
	if len(s.DeadLetters) != 200 || more < 0 || !strings.Contains(s.Entries[more].Text, "than the 200 oldest") {
		t.Errorf("%d dead letters are told, and entry %d says that there are more", len(s.DeadLetters), more)
	}
}

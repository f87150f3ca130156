package outbox_test

import (
	"slices"
	"testing"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/outbox"
)

func want(t *testing.T, got []string, wanted ...string) {
	t.Helper()
	if !slices.Equal(got, wanted) {
		t.Fatalf("the log has %q, want %q", got, wanted)
	}
}

// What is committed comes as it was published, what is rolled back does not.
func TestCommittedRecordsAreRelayed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	given := outbox.Record{
		Topic: "orders", Key: []byte("k\x00\xff"), Value: []byte("v\\\"{},\x00\xff"), EventID: "order-1",
		Headers: []consume.RecordHeader{{Key: "traceparent", Value: []byte("00-1-2-01")}, {Key: `od"d\`, Value: nil}, {Key: "empty", Value: []byte{}}, {Key: "idempotency_key", Value: []byte("of the consumed record")}},
	}
	tombstone := outbox.Record{Topic: "orders", Key: []byte("k")}
	b.published(t, given, tombstone, outbox.Record{Topic: "orders", Value: []byte{}})
	lost := b.begin(t)
	publish(t, lost, record("k", "lost"))
	if err := lost.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	savepoint, tx := b.begin(t), b.begin(t)
	nested, err := savepoint.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	publish(t, nested, record("k", "lost, too"))
	if err := nested.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	publish(t, savepoint, record("k", "kept"))
	commit(t, savepoint)
	commit(t, tx)
	b.start(t, nil)
	b.awaitEmpty(t)

	if got := b.log.values(); !slices.Equal(got, []string{string(given.Value), "", "", "kept"}) {
		t.Fatalf("the log has %q", got)
	}
	first, second, third := b.log.records[0], b.log.records[1], b.log.records[2]
	if first.Topic != "orders" || string(first.Key) != string(given.Key) || eventID(first) != "order-1" || len(first.Headers) != 4 {
		t.Errorf("sent %+v, want %+v", first, given)
	}
	for i, h := range given.Headers[:3] {
		if got := first.Headers[i]; got.Key != h.Key || string(got.Value) != string(h.Value) || (got.Value == nil) != (h.Value == nil) {
			t.Errorf("sent the header %+v, want %+v", got, h)
		}
	}
	if second.Value != nil || third.Value == nil || third.Key != nil {
		t.Errorf("a tombstone came as %#v, an empty value as %#v", second, third)
	}
	if eventID(second) == "" || eventID(second) == eventID(third) {
		t.Errorf("records without an event id got %q and %q", eventID(second), eventID(third))
	}
}

// A transaction that commits late is neither missed nor waited for: ids 2 and 3 come while that with id 1 is open.
func TestLateCommitIsNeitherMissedNorWaitedFor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.start(t, nil)
	late := b.begin(t)
	publish(t, late, numbered(1, 1, 1)...)
	b.published(t, numbered(2, 1, 1)...)
	b.await(t, 1)
	b.published(t, numbered(3, 1, 1)...)
	b.await(t, 2)
	want(t, b.log.values(), "2", "3")
	commit(t, late)
	b.await(t, 3)
	b.awaitEmpty(t)
	want(t, b.log.values(), "2", "3", "1")
}

// Many transactions that end in another order than they began, with records of several portions.
func TestPortionsOfLateTransactions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.start(t, func(c *outbox.Config) { c.MaxBytes = 1000 }) // four records or so
	next := 0
	for range 10 {
		a, z := b.begin(t), b.begin(t)
		publish(t, a, numbered(next, 15, 3)...)
		publish(t, z, numbered(next+15, 15, 3)...)
		publish(t, a, numbered(next+30, 15, 3)...)
		commit(t, z)
		next += 45
		b.published(t, numbered(next, 5, 3)...)
		next += 5
		b.await(t, next-30)
		commit(t, a)
	}
	b.awaitEmpty(t)
	got := b.log.values()
	slices.Sort(got)
	if len(got) != next || len(slices.Compact(got)) != next {
		t.Errorf("%d records came, want %d, each once", len(got), next)
	}
}

package cli

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/readable"
	"github.com/nova-events/idempotent-consumer/ops"
)

func TestShow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	pool, err := pgxpool.New(t.Context(), b.db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	for _, consumer := range []string{"mails", "orders"} {
		guard, err := idem.New(pool, idem.Config{Consumer: consumer})
		if err != nil {
			t.Fatal(err)
		}
		metadata := idem.Metadata{Topic: "payments", Partition: 3, Offset: 99, Key: []byte("k"), User: []byte(`"c1 \u009b and esc \u001b"`)}
		if _, err := guard.MarkProcessed(t.Context(), "4711", idem.WithMetadata(metadata)); err != nil {
			t.Fatal(err)
		}
	}
	b.register(t, "idle", "7d")

	one := b.ok(t, "show", "4711", "--consumer", "orders")
	contains(t, one, "consumer   orders", "event id   4711", "retention 7d", idem.Key("4711").String(), `"topic": "payments"`, `"offset": 99`, `\u009b`, `\u001b`)
	if strings.ContainsAny(one, "\u009b\x1b") || strings.Contains(one, "mails") {
		t.Error(one)
	}
	all := b.ok(t, "show", "4711")
	contains(t, all, "consumer   mails", "consumer   orders")

	document := b.ok(t, "show", "4711", "--json")
	if strings.ContainsAny(document, "\u009b\x1b") {
		t.Error(document)
	}
	shown := decode[[]ops.Event](t, document)
	if len(shown) != 2 || shown[0].Consumer != "mails" || shown[1].EventID != "4711" || shown[1].Key != idem.Key("4711") ||
		shown[1].ExpiresAt.Sub(shown[1].ProcessedAt) != idem.DefaultRetention || !strings.Contains(string(shown[1].Metadata), "payments") {
		t.Errorf("%+v", shown)
	}
}

func TestShowUnknownEvent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "orders", "7d")
	r := b.run(t, "show", "4711")
	r.want(t, exitNotFound, "event 4711", "any consumer")
	if r.stdout != "" {
		t.Error(r.stdout)
	}
	r = b.run(t, "show", "4711", "-c", "orders", "--json")
	r.want(t, exitNotFound, "orders")
	if r.stdout != "[]\n" {
		t.Error(r.stdout)
	}
	// An unknown consumer is another mistake than an unknown event.
	r = b.run(t, "show", "4711", "-c", "order")
	r.want(t, exitNotFound, "order is not registered", "Registered are: orders", "idemctl consumer register order")
}

func TestShowExpiredAndStrangeEvents(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "orders", "90m")
	b.age(t, "orders", 2)
	contains(t, b.ok(t, "show", "e1"), "(in 29m", "1h")
	contains(t, b.ok(t, "show", "e2"), "the next cleanup forgets it")
	for _, id := range []string{"evil\x1b]0;title\a", "0190a3c0-0000-7000-8000-000000000000", "-dash", strings.Repeat("é", 2048)} {
		b.ok(t, "mark", "-c", "orders", "--", id)
		text := b.ok(t, "show", "--", id)
		if contains(t, text, readable.Name(id)); strings.ContainsAny(text, "\x1b\a") {
			t.Errorf("%q", text)
		}
	}
	r := b.run(t, "show", "evil\x1b[31m")
	if r.want(t, exitNotFound, `"evil\x1b[31m"`); strings.Contains(r.stderr, "\x1b") {
		t.Errorf("%q", r.stderr)
	}
}

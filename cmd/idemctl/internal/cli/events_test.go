package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nova-events/idempotent-consumer/ops"
)

func TestMark(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "orders", "7d")
	b.register(t, "mails", "7d")
	contains(t, b.ok(t, "mark", "1", "2", "2", "--consumer", "orders"), "2 events marked as processed for orders, 0 processed before.")
	r := decode[ops.MarkResult](t, b.ok(t, "mark", "2", "3", "-c", "orders", "--json"))
	if r != (ops.MarkResult{Consumer: "orders", Events: 2, Marked: 1, AlreadyProcessed: 1, Complete: true}) {
		t.Errorf("%+v", r)
	}
	b.run(t, "show", "1", "-c", "mails").want(t, exitNotFound)
}

func TestUnknownConsumersAreNotRegistered(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "it's", "7d")
	b.exec(t, `CREATE TABLE public.old (id uuid, event_id text, processed_at timestamptz, metadata jsonb)`)
	for _, line := range []string{"mark 1", "forget 1 -y", "import --from-table public.old", "show 1"} {
		b.run(t, append(strings.Fields(line), "-c", "a b")...).want(t, exitNotFound,
			"a b is not registered", "Registered are: it's", `"idemctl consumer register 'a b' --retention 7d"`)
	}
	b.run(t, "consumer", "set-retention", "a b", "7d").want(t, exitNotFound, "not registered")
	if n := b.one(t, `SELECT count(*) FROM idem.consumers`); n != 1 {
		t.Errorf("%d consumers", n)
	}
	b.exec(t, `DELETE FROM idem.consumers`)
	b.run(t, "mark", "1", "-c", "c").want(t, exitNotFound, "No consumer is registered")
}

func TestManyEvents(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "orders", "7d")
	var ids strings.Builder
	for i := range 2500 {
		fmt.Fprintf(&ids, "id %d\r\n\n", i)
	}
	file := filepath.Join(t.TempDir(), "ids")
	if err := os.WriteFile(file, []byte("\ufeff"+ids.String()+"last\nid 7"), 0o600); err != nil {
		t.Fatal(err)
	}

	r := b.runWith(t.Context(), strings.NewReader(ids.String()), "mark", "-", "-c", "orders", "--json")
	r.want(t, 0)
	if got := decode[ops.MarkResult](t, r.stdout); got.Events != 2500 || got.Marked != 2500 {
		t.Errorf("%+v", got)
	}
	if got := decode[ops.MarkResult](t, b.ok(t, "mark", "--file", file, "-c", "orders", "--json")); got.Events != 2501 || got.Marked != 1 || got.AlreadyProcessed != 2500 {
		t.Errorf("%+v", got)
	}
	b.ok(t, "show", "id 2499")

	b.run(t, "forget", "-f", file, "-c", "orders").want(t, exitUnconfirmed, "2,501 events will be processed again by orders")
	stdin := strings.NewReader("yes\nid 1\n")
	b.runWith(t.Context(), stdin, "forget", "-", "-c", "orders").want(t, exitUnconfirmed, "2 events", "--yes")
	if n := b.one(t, `SELECT count(*) FROM idem.processed_events`); n != 2501 {
		t.Fatalf("%d events are left", n)
	}
	contains(t, b.ok(t, "forget", "id 1", "unknown", "-c", "orders", "--yes"), "1 event forgotten for orders, 1 not known.")
	r = b.run(t, "forget", "id 1", "unknown", "-c", "orders", "--yes")
	r.want(t, exitNotFound, "nothing was forgotten: orders knows none of these events", "idemctl explain")
	contains(t, r.stdout, "0 events forgotten for orders, 2 not known.")
	r = b.runWith(t.Context(), strings.NewReader("id 2\nid 3\n"), "forget", "--file", "-", "-c", "orders", "--yes")
	r.want(t, 0)
	contains(t, r.stdout, "2 events forgotten")
	if got := decode[ops.ForgetResult](t, b.ok(t, "forget", "-f", file, "-c", "orders", "-y", "--json")); got != (ops.ForgetResult{Consumer: "orders", Events: 2501, Forgotten: 2498, Unknown: 3, Complete: true}) {
		t.Errorf("%+v", got)
	}
}

// The second thousand waits for a consumer that is processing one of its events.
func TestInterruptedMarkGoesOnLater(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "orders", "7d")
	var ids strings.Builder
	for i := range 3000 {
		fmt.Fprintln(&ids, "id", i)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	committed := b.tellCommits(t, "INSERT")
	tx := b.hold(t, `INSERT INTO idem.processed_events (consumer_id, key, claim_id, event_id)
		SELECT id, idem.event_key('id 1500'), gen_random_uuid(), 'id 1500' FROM idem.consumers`)
	go func() {
		if committed(ctx) {
			cancel()
		}
	}()
	r := b.runWith(ctx, strings.NewReader(ids.String()), "mark", "-", "-c", "orders")
	r.want(t, exitInterrupted, "interrupted")
	contains(t, r.stdout, "1,000 events marked", "2,000 events not marked yet; run the same command again")
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	r = b.runWith(t.Context(), strings.NewReader(ids.String()), "mark", "-", "-c", "orders")
	r.want(t, 0)
	contains(t, r.stdout, "2,000 events marked as processed for orders, 1,000 processed before.")
}

// A file with a mistake is refused whole, with the line.
func TestBadEventIDsChangeNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "orders", "7d")
	good := strings.Repeat("good\n", 1500)
	for text, want := range map[string]string{
		good + strings.Repeat("x", 4097):    "line 1501: it has 4,097 bytes, 4,096 are allowed",
		good + "\xff\n":                     "line 1501: it is not UTF-8",
		good + "a\x00b\n":                   "line 1501: it is not UTF-8",
		good + strings.Repeat("x", 2000000): "after line 1500",
		"\n\n":                              "no event ids",
		"":                                  "no event ids",
	} {
		r := b.runWith(t.Context(), strings.NewReader(text), "mark", "-", "-c", "orders")
		r.want(t, exitFailure, want)
	}
	b.run(t, "mark", "-f", filepath.Join(t.TempDir(), "missing"), "-c", "orders").want(t, exitFailure, "no such file")
	if n := b.one(t, `SELECT count(*) FROM idem.processed_events`); n != 0 {
		t.Errorf("%d events were marked", n)
	}
}

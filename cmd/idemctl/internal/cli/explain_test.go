package cli

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/readable"
	"github.com/nova-events/idempotent-consumer/ops"
)

func TestExplain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	pool, err := pgxpool.New(t.Context(), b.db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	const topic, id = "pay\x1b[2Jments", "4711\u009b"
	for _, consumer := range []string{"mails", "orders"} {
		guard, err := idem.New(pool, idem.Config{Consumer: consumer})
		if err != nil {
			t.Fatal(err)
		}
		owner, err := guard.Acquire(t.Context(), idem.Partition{Topic: topic, Number: 3}, idem.AcquireOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if consumer == "mails" {
			event := idem.Event{ID: id, Offset: 99, Metadata: &idem.Metadata{Topic: topic, Partition: 3, Offset: 99}, Fingerprint: 255}
			_, err = owner.Process(t.Context(), event, func(context.Context, pgx.Tx) error { return nil })
		} else {
			_, err = owner.StoreDeadLetter(t.Context(), idem.DeadLetter{EventID: id, Offset: 99, Attempts: 10, Error: "refused\a"})
		}
		if err != nil {
			t.Fatal(err)
		}
	}

	all := b.ok(t, "explain", id)
	contains(t, all, "mails: Processed by call ", `at offset 99 of partition 3 of "pay\x1b[2Jments"`, "value 00000000000000ff.", "\nnow  ",
		`orders: The record`, `after 10 attempts: "refused\a"`, "idemctl deadletter replay ", "is at 100. The record at 99 is before it", "retention 7d")
	if strings.ContainsAny(all, "\x1b\a\u009b") {
		t.Errorf("%q", all)
	}
	if one := b.ok(t, "explain", id, "--consumer", "mails"); strings.Contains(one, "orders") {
		t.Error(one)
	}
	document := b.ok(t, "explain", id, "--json")
	if strings.ContainsAny(document, "\x1b\a\u009b") {
		t.Errorf("%q", document)
	}
	story := decode[ops.Story](t, document)
	if len(story.Events) != 2 || len(story.DeadLetters) != 1 || story.EventID != id || story.Entries[0].Consumer != "mails" || story.Entries[0].Kind != ops.EntryProcessed {
		t.Errorf("%+v", story)
	}

	role := b.db.Name + "_reader"
	b.exec(t, `CREATE ROLE `+role)
	t.Cleanup(func() {
		if _, err := b.conn.Exec(context.Background(), `DROP OWNED BY `+role+`; DROP ROLE `+role); err != nil {
			t.Error(err)
		}
	})
	b.exec(t, b.ok(t, "migrate", "print", "--grants", role))
	b.env["IDEM_DATABASE_URL"] += "&role=" + role // From here on with the rights of a service.

	r := b.run(t, "explain", "4712")
	if r.want(t, exitNotFound, "4712"); !strings.Contains(r.stdout, "Nothing is stored") {
		t.Error(r.stdout)
	}
	r = b.run(t, "explain", "4712", "-c", "mails", "--json")
	if r.want(t, exitNotFound, "4712"); decode[ops.Story](t, r.stdout).Entries[0].Kind != ops.EntryUnknown {
		t.Error(r.stdout)
	}
	b.run(t, "explain", idem.Key(id).String()).want(t, exitUsage, "is not the id of an event but the key under which mails keeps", readable.Name(id))
	b.run(t, "explain", "4711", "-c", "mail").want(t, exitNotFound, "mail is not registered")
	b.run(t, "explain", "").want(t, exitUsage, "it is empty")
	b.run(t, "explain", strings.Repeat("x", idem.MaxEventIDBytes+1)).want(t, exitUsage, "4,097 bytes")
	b.run(t, "explain").want(t, exitUsage)
}

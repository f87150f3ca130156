package cli

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/ops"
)

func TestCleanup(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "long", "100d")
	b.register(t, "orders", "30m")
	b.register(t, "mails", "90m")
	for _, consumer := range []string{"long", "orders", "mails"} {
		b.age(t, consumer, 1500)
	}
	b.exec(t, `INSERT INTO idem.dead_letters (consumer_id, id, state, resolved_at, topic, record_partition, record_offset, key, attempts, topic_id, error)
		SELECT idem.consumer_id('orders'), gen_random_uuid(), s.state, now() - interval '1 day', 'orders', 0, row_number() OVER (), gen_random_uuid(), 1, gen_random_uuid(), 'refused'
		FROM (VALUES ('replayed'), ('discarded'), ('open')) s (state)`)
	b.exec(t, `INSERT INTO idem.leases (consumer_id, key, state, until, needs_decision) SELECT idem.consumer_id('orders'), gen_random_uuid(), 'unknown', now() - interval '1 day', n = 1 FROM generate_series(1, 4) n`)
	contains(t, b.ok(t, "cleanup", "--dry-run"), "2 resolved dead letters would be removed", "3 leases of events to which nobody has come back would be removed", "CONSUMER  EXPIRED\n", "mails       1,499\n", "orders      1,500\n", "2,999 events would be forgotten; nothing was changed")
	dry := decode[ops.CleanupPlan](t, b.ok(t, "cleanup", "-n", "--json"))
	if dry.Expired != 2999 || dry.DeadLetters != 2 || dry.Leases != 3 || len(dry.Consumers) != 2 || dry.Consumers[0] != (ops.ExpiredCount{Consumer: "mails", Expired: 1499}) {
		t.Errorf("%+v", dry)
	}

	done := decode[ops.CleanupResult](t, b.ok(t, "cleanup", "--json"))
	if !done.Complete || done.Deleted != 2999 || done.DeadLetters != 2 || done.Leases != 3 || len(done.Consumers) != 2 || done.Consumers[1] != (ops.DeletedCount{Consumer: "orders", Deleted: 1500}) {
		t.Errorf("%+v", done)
	}
	contains(t, b.ok(t, "cleanup"), "0 events forgotten in ")
	if out := b.ok(t, "cleanup", "--dry-run"); out != "0 events would be forgotten; nothing was changed.\n" {
		t.Error(out)
	}
	if n := b.one(t, `SELECT count(*) FROM idem.processed_events`); n != 1501 {
		t.Errorf("%d events are left", n)
	}
}

func TestCleanupWhileAnotherLeads(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "c", "1m")
	b.age(t, "c", 100)
	tx, err := b.conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.exec(t, `SELECT FROM idem.cleanup FOR UPDATE`)
	r := b.run(t, "cleanup", "--json")
	r.want(t, exitBusy, fmt.Sprintf("another process is cleaning up in the session pid %d (role ", b.conn.PgConn().PID()))
	if got := decode[ops.CleanupResult](t, r.stdout); got.Complete || got.Deleted != 0 || got.Consumers == nil {
		t.Errorf("%+v", got)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// The rights that "migrate print --grants" prints are enough. They do not reach the version table.
func TestCleanupWithThePrintedRights(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "c", "1m")
	b.age(t, "c", 100)
	role := b.db.Name + "_cleaner"
	b.exec(t, `CREATE ROLE `+role)
	t.Cleanup(func() {
		if _, err := b.conn.Exec(context.Background(), `DROP OWNED BY `+role+`; DROP ROLE `+role); err != nil {
			t.Error(err)
		}
	})
	b.exec(t, b.ok(t, "migrate", "print", "--grants", role))
	b.env["IDEM_DATABASE_URL"] += "&role=" + role
	contains(t, b.ok(t, "cleanup"), "100 events forgotten")
}

// The pass waits in a trigger for a row far behind its first batch when it is interrupted.
func TestInterruptedCleanupReports(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "c", "1m")
	b.age(t, "c", 20000)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	committed := b.tellCommits(t, "DELETE")
	b.exec(t, `CREATE FUNCTION public.wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_catalog.pg_advisory_xact_lock(42); RETURN OLD; END $$;
		CREATE TRIGGER wait BEFORE DELETE ON idem.processed_events FOR EACH ROW WHEN (OLD.event_id = 'e20000') EXECUTE FUNCTION public.wait()`)
	tx := b.hold(t, `SELECT pg_catalog.pg_advisory_xact_lock(42)`)
	go func() {
		if committed(ctx) {
			cancel()
		}
	}()

	r := b.runWith(ctx, strings.NewReader(""), "cleanup", "--json")
	r.want(t, exitInterrupted, "idemctl: interrupted")
	got := decode[ops.CleanupResult](t, r.stdout)
	if got.Complete || got.Deleted == 0 || got.Deleted >= 20000 || got.Batches == 0 {
		t.Errorf("%+v", got)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := b.one(t, `SELECT count(*) FROM idem.processed_events`); n != 20000-got.Deleted {
		t.Errorf("%d events are left, %d are reported as deleted", n, got.Deleted)
	}
	if rest := decode[ops.CleanupResult](t, b.ok(t, "cleanup", "--json")); rest.Deleted != 20000-got.Deleted {
		t.Errorf("%+v", rest)
	}
}

// tellCommits returns a function that waits for the commit of the next statement of a kind on
// processed_events and reports whether it came.
func (b *bundle) tellCommits(t *testing.T, kind string) func(context.Context) bool {
	t.Helper()
	b.exec(t, `CREATE FUNCTION public.tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_catalog.pg_notify('committed', ''); RETURN NULL; END $$;
		CREATE TRIGGER tell AFTER `+kind+` ON idem.processed_events FOR EACH STATEMENT EXECUTE FUNCTION public.tell()`)
	listener := connect(t, b.db.DSN)
	if _, err := listener.Exec(t.Context(), `LISTEN committed`); err != nil {
		t.Fatal(err)
	}

	return func(ctx context.Context) bool {
		_, err := listener.WaitForNotification(ctx)

		return err == nil
	}
}

// hold runs a statement in a transaction that stays open.
func (b *bundle) hold(t *testing.T, sql string) pgx.Tx {
	t.Helper()
	tx, err := connect(t, b.db.DSN).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}

	return tx
}

// The commands of operators used to read the migrator's own table, which nobody else may.
func TestPrintedRightsAreEnough(t *testing.T) {
	t.Parallel()
	b := setup(t)
	role := b.db.Name + "_service"
	b.exec(t, "CREATE ROLE "+role)
	t.Cleanup(func() { _, _ = b.conn.Exec(context.Background(), "DROP OWNED BY "+role+"; DROP ROLE "+role) })
	b.exec(t, b.ok(t, "migrate", "print", "--grants", role))
	b.register(t, "orders", "90m")
	b.age(t, "orders", 5)

	b.env["IDEM_DATABASE_URL"] += "&role=" + role
	if done := decode[ops.CleanupResult](t, b.ok(t, "cleanup", "--json")); done.Deleted != 4 || !done.Complete {
		t.Errorf("%+v", done)
	}
	if s := decode[ops.Status](t, b.ok(t, "status", "--json")); s.Events != 1 || s.State != ops.TablesCurrent || s.Migrator != ops.MigratorIdemctl {
		t.Errorf("%+v", s)
	}
	for _, line := range []string{
		"cleanup --dry-run", "show e1", "mark new -c orders", "forget new -c orders -y", "consumer list", "consumer register mails", "checkpoint list", "deadletter list", "status --exact",
	} {
		b.ok(t, strings.Fields(line)...)
	}
}

package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/nova-events/idempotent-consumer/ops"
	"github.com/nova-events/idempotent-consumer/schema"
)

func TestStatus(t *testing.T) {
	t.Parallel()
	b := setup(t)
	empty := b.ok(t, "status")
	contains(t, empty, "schema        idem", "(current)", "0 (0 expired)", "No consumer is registered")
	if s := decode[ops.Status](t, b.ok(t, "status", "--json")); s.Consumers == nil || len(s.Consumers) != 0 {
		t.Errorf("%+v", s)
	}

	b.register(t, "idle", "36h")
	b.register(t, "orders", "1000h")
	b.age(t, "orders", 1500)
	b.exec(t, `INSERT INTO idem.consumers (id, name, retention) VALUES (idem.consumer_id(E'evil\x1b[31m'), E'evil\x1b[31m', '1 day')`)
	text := b.ok(t, "status")
	contains(t, text, "1,500 (501 expired)", "41d16h", `"evil\x1b[31m"`, "KiB",
		"To do (see docs/operations.md):\n- 501 events of orders should be forgotten, the oldest since 20d")
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "idle") && strings.Join(strings.Fields(line), " ") != "idle 0 0 1d12h - - 0" {
			t.Error(line)
		}
	}

	s := decode[ops.Status](t, b.ok(t, "status", "--json"))
	if s.Schema != "idem" || s.MigrationVersion != schema.Version || s.State != ops.TablesCurrent || s.Migrator != ops.MigratorIdemctl || s.Events != 1500 || s.Expired != 501 || s.TableBytes == 0 || s.IndexBytes == 0 || len(s.Consumers) != 3 {
		t.Fatalf("%+v", s)
	}
	idle, orders := s.Consumers[1], s.Consumers[2]
	if idle.Consumer != "idle" || idle.Oldest != nil || idle.Newest != nil || idle.Retention != ops.Seconds(36*time.Hour) {
		t.Errorf("%+v", idle)
	}
	if age := orders.Newest.Sub(*orders.Oldest); age != 1499*time.Hour || time.Since(*orders.Newest) < time.Hour {
		t.Errorf("%+v", orders)
	}
}

// Each command prints one document, whose fields scripts rely on.
func TestJSONShapes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "orders", "7d")
	b.exec(t, `CREATE TABLE public.old (id uuid, event_id text, processed_at timestamptz, metadata jsonb)`)
	for _, c := range []struct{ line, want string }{
		{"migrate status", "{latest_version:float64 migrations:[{applied_at:string name:string version:float64}] migrator:string schema:string schema_state:string version:float64}"},
		{"migrate up", "{applied:[] reverted:[] schema:string schema_created:bool version:float64}"},
		{"migrate print", "[{name:string outside_transaction:bool sql:string}]"},
		{"mark 4711 4712 -c orders", "{already_processed:float64 complete:bool consumer:string events:float64 marked:float64}"},
		{"show 4711", "[{claim_id:string consumer:string event_id:string expires_at:string fingerprint:null key:string metadata:null processed_at:string}]"},
		{"forget 4711 -c orders -y", "{complete:bool consumer:string events:float64 forgotten:float64 unknown:float64}"},
		{"status", "{advice:[] bytes_per_event:float64 consumers:[{consumer:string created_at:string events:float64 expired:float64 newest:string oldest:string open_dead_letters:float64 pause:null" +
			" retention_seconds:float64 undecided_leases:float64 unresolved_dead_letters:float64}]" +
			" dead_rows:float64 estimated:bool events:float64 expired:float64 index_bytes:float64 last_autovacuum:null last_vacuum:null live_rows:float64" +
			" migration_version:float64 migrator:string open_dead_letters:float64 outbox:{failed:float64 oldest:null parked:float64 waiting:float64} packed_bytes_per_event:float64" +
			" schema:string schema_state:string table_bytes:float64 undecided_leases:float64 unresolved_dead_letters:float64 unused_bytes:float64}"},
		{"consumer list", "[{closed:null cluster:null consumer:string created_at:string group:null pause:null retention_seconds:float64}]"},
		{"consumer register mails", "{consumer:string retention_seconds:float64}"},
		{"consumer set-retention mails 1h", "{consumer:string newly_expired:float64 previous_retention_seconds:float64 retention_seconds:float64}"},
		{"cleanup --dry-run", "{consumers:[] dead_letters:float64 expired:float64 leases:float64}"},
		{"cleanup", "{batches:float64 complete:bool consumers:[] dead_letters:float64 deleted:float64 elapsed_seconds:float64 leases:float64}"},
		{"import -c orders --from-table public.old", "{already_processed:float64 complete:bool consumer:string counted:float64 expired:float64 imported:float64" +
			" refused:{empty:float64 too_long:float64 undated:float64} rows:float64 table:string}"},
		{"version", "{go:string latest_migration:float64 minimum_postgresql:float64 version:string}"},
	} {
		output := b.ok(t, append(strings.Fields(c.line), "--json")...)
		if got := shape(decode[any](t, output)); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.line, got, c.want)
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	b := &bundle{}
	contains(t, b.ok(t, "version"), "idemctl             v1.2.3\n", "minimum PostgreSQL  14\n", "latest migration")
	contains(t, b.ok(t, "--version"), "idemctl version v1.2.3")
	v := decode[versionReport](t, b.ok(t, "version", "--json"))
	if v.Version != "v1.2.3" || v.LatestMigration < 1 || v.MinimumPostgreSQL != schema.MinServerVersion/10000 {
		t.Errorf("%+v", v)
	}
	if got := (&app{}).version(); got == "" {
		t.Error("no version without a linked one")
	}
}

// Of a table larger than the sample a part is read; what --exact counts is close to it.
func TestStatusEstimatesLargeTables(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "orders", "1000h")
	b.register(t, "bills", "7d")
	b.exec(t, `INSERT INTO idem.processed_events (processed_at, consumer_id, key, claim_id, event_id)
		SELECT now() - make_interval(hours => n % 2000), idem.consumer_id(CASE n % 4 WHEN 0 THEN 'bills' ELSE 'orders' END), gen_random_uuid(), '00000000-0000-7000-8000-000000000000', repeat('x', 1000)
		FROM generate_series(1, 60000) n`)
	exact := decode[ops.Status](t, b.ok(t, "status", "--exact", "--json"))
	if exact.Estimated || exact.Events != 60000 {
		t.Fatalf("%+v", exact)
	}
	if exact.TableBytes < 2*4000*8192 {
		t.Fatalf("the table has %d bytes only", exact.TableBytes)
	}
	estimate := decode[ops.Status](t, b.ok(t, "status", "--json"))
	if !estimate.Estimated {
		t.Error("all was read")
	}
	for i, got := range estimate.Consumers {
		want := exact.Consumers[i]
		for _, pair := range [][2]int64{{got.Events, want.Events}, {got.Expired, want.Expired}} {
			if float64(pair[0]) < 0.85*float64(pair[1]) || float64(pair[0]) > 1.15*float64(pair[1]) {
				t.Errorf("%s: estimated %d, counted %d", got.Consumer, pair[0], pair[1])
			}
		}
	}
	contains(t, b.ok(t, "status"), "events        about ", "estimates; --exact reads all")
}

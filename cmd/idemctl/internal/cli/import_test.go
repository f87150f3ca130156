package cli

import (
	"context"
	"strings"
	"testing"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/ops"
)

// predecessor makes the predecessor's table, with rows whose ids are in the order of n, one
// for each minute of the past.
func (b *bundle) predecessor(t *testing.T, table string, rows int) {
	t.Helper()
	b.exec(t, `CREATE TABLE `+table+` (
		id uuid PRIMARY KEY, event_id text NOT NULL UNIQUE, processed_at timestamptz NOT NULL DEFAULT now(), metadata jsonb)`)
	b.exec(t, `INSERT INTO `+table+`
		SELECT ('00000000-0000-0000-0000-' || lpad(to_hex(n), 12, '0'))::uuid, 'old-' || n, now() - make_interval(mins => n),
		       CASE n % 3 WHEN 0 THEN pg_catalog.jsonb_build_object('n', n) WHEN 1 THEN 'null'::jsonb END
		FROM generate_series(0, $1 - 1) n`, rows)
}

func TestImport(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "orders", "100h30m30s")
	b.predecessor(t, "public.processed_events", 12000)
	b.ok(t, "mark", "old-17", "old-5000", "-c", "orders")
	args := []string{"import", "--from-table", "public.processed_events", "-c", "orders"}

	first := decode[ops.ImportResult](t, b.ok(t, append(args, "--json")...))
	want := ops.ImportResult{Consumer: "orders", Table: "public.processed_events", Counted: 12000, Rows: 12000, Imported: 6029, AlreadyProcessed: 2, Expired: 5969, Complete: true}
	if first != want {
		t.Errorf("got %+v, want %+v", first, want)
	}
	again := decode[ops.ImportResult](t, b.ok(t, append(args, "--json")...))
	want.Imported, want.AlreadyProcessed = 0, 6031
	if again != want {
		t.Errorf("got %+v, want %+v", again, want)
	}
	contains(t, b.ok(t, args...), "    0  imported for orders\n", "6,031  known already\n", "5,969  older than the retention", "12,000  read from public.processed_events\n")

	different := b.one(t, `SELECT count(*) FROM idem.processed_events e JOIN public.processed_events o ON e.key = idem.event_key(o.event_id)
		WHERE o.event_id NOT IN ('old-17', 'old-5000')
		AND (e.claim_id, e.event_id, e.processed_at) IS DISTINCT FROM (o.id, o.event_id, o.processed_at)`)
	metadata := b.one(t, `SELECT count(*) FROM idem.processed_events WHERE metadata IS NOT NULL AND metadata = pg_catalog.jsonb_build_object('user', pg_catalog.jsonb_build_object('n', substr(event_id, 5)::int))`)
	if different != 0 || metadata != 2011 {
		t.Errorf("%d rows differ, %d have metadata", different, metadata)
	}
	contains(t, b.ok(t, "show", "old-3"), `"user": {`, `"n": 3`)
}

func TestImportRefusesWhatTheGuardWould(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "orders", "7d")
	b.exec(t, `CREATE TABLE public.old (id uuid, event_id varchar, processed_at timestamptz, metadata json);
		INSERT INTO public.old SELECT gen_random_uuid(), event_id, processed_at FROM (VALUES
			('good', now()), ('good', now()), ('0190a3c0-0000-7000-8000-000000000000', now()), (repeat('é', 2048), now()), ('0190a3c0-0000-8000-8000-000000000000', now()),
			('', now()), (NULL, now()), (repeat('é', 2049), now()),
			('undated', NULL), ('never', 'infinity'), ('always', '-infinity'), ('expired', now() - interval '8 days')) v (event_id, processed_at)`)
	got := decode[ops.ImportResult](t, b.ok(t, "import", "-c", "orders", "--from-table", "public.old", "--json"))
	want := ops.ImportResult{
		Consumer: "orders", Table: "public.old", Counted: 12, Rows: 12, Imported: 4, AlreadyProcessed: 1, Expired: 1,
		Refused: ops.ImportRefused{Empty: 2, TooLong: 1, Undated: 3}, Complete: true,
	}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	contains(t, b.ok(t, "import", "-c", "orders", "--from-table", "public.old"), "2  without an event id", "1  with an event id of more than 4,096 bytes", "3  without a time")

	// The rows are such as the guard itself writes.
	b.ok(t, "consumer", "register", "twin")
	b.ok(t, "mark", "-c", "twin", "good", "0190a3c0-0000-7000-8000-000000000000", strings.Repeat("é", idem.MaxEventIDBytes/2), "0190a3c0-0000-8000-8000-000000000000")
	if n := b.one(t, `SELECT count(DISTINCT (key, event_id)) FROM idem.processed_events`); n != 4 {
		t.Errorf("%d different rows instead of 4", n)
	}
}

func TestImportedTableIsQuoted(t *testing.T) {
	t.Parallel()
	b := setupEmpty(t)
	b.env["IDEM_SCHEMA"] = "shop"
	b.ok(t, "migrate", "up")
	b.register(t, "orders", "7d")
	b.exec(t, `CREATE SCHEMA "idem"; CREATE SCHEMA "Old ""@after"`)
	for _, name := range []string{`idem.x"; DROP TABLE consumers; --`, `Old "@after.idem @rows`, "shop.idem"} {
		schemaName, table, _ := strings.Cut(name, ".")
		quoted := `"` + strings.ReplaceAll(schemaName, `"`, `""`) + `"."` + strings.ReplaceAll(table, `"`, `""`) + `"`
		b.predecessor(t, quoted, 2)
		got := decode[ops.ImportResult](t, b.ok(t, "import", "-c", "orders", "--from-table", name, "--json"))
		if got.Rows != 2 || got.Table != name {
			t.Errorf("%s: %+v", name, got)
		}
	}
	b.run(t, "import", "-c", "orders", "--from-table", "Shop.idem").want(t, exitFailure, `there is no table "Shop"."idem"`)
	b.run(t, "import", "-c", "orders", "--from-table", "shop.processed_events").want(t, exitFailure,
		"not the predecessor's", "no column id (uuid)")
	b.exec(t, `CREATE TABLE public.old (id bigint, event_id text, processed_at timestamp, metadata jsonb)`)
	b.run(t, "import", "-c", "orders", "--from-table", "public.old").want(t, exitFailure,
		"id is bigint instead of uuid", "processed_at is timestamp without time zone")
}

// Pages go by the ids: where these are not distinct, or others at each reading, rows would be missed in
// silence.
func TestImportRefusesWhatItWouldReadInPart(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "orders", "100d")
	b.exec(t, `CREATE TABLE public.source AS SELECT 'e' || n AS event_id, now() - make_interval(secs => n) AS processed_at, NULL::jsonb AS metadata
		FROM generate_series(1, 20000) n`)
	for name, c := range map[string]struct{ id, want string }{
		"random":            {`gen_random_uuid()`, "others each time"},
		"of the clock":      {`md5(event_id || clock_timestamp())::uuid`, "others each time"},
		"of the reading":    {`md5(event_id || now())::uuid`, "others each time"},
		"of the connection": {`md5(event_id || pg_backend_pid())::uuid`, "others each time"},
		"constant":          {`'00000000-0000-0000-0000-000000000001'::uuid`, "only 1 different id"},
		"null":              {`NULL::uuid`, "20,000 of its ids are null"},
		"one null":          {`CASE WHEN event_id <> 'e77' THEN md5(event_id)::uuid END`, "1 of its ids are null"},
		"one twice":         {`md5(replace(event_id, 'e77', 'e78'))::uuid`, "different ids"},
	} {
		b.exec(t, `CREATE OR REPLACE VIEW public.old AS SELECT `+c.id+` AS id, * FROM public.source`)
		r := b.run(t, "import", "-c", "orders", "--from-table", "public.old")
		if r.status != exitFailure || !strings.Contains(r.stderr, c.want) || r.stdout != "" {
			t.Errorf("%s: %+v", name, r)
		}
		if n := b.one(t, `SELECT count(*) FROM idem.processed_events`); n != 0 {
			t.Errorf("%s: %d rows were imported", name, n)
		}
	}

	b.exec(t, `CREATE OR REPLACE VIEW public.old AS SELECT md5(event_id)::uuid AS id, * FROM public.source`)
	if got := decode[ops.ImportResult](t, b.ok(t, "import", "-c", "orders", "--from-table", "public.old", "--json")); got.Imported != 20000 {
		t.Errorf("%+v", got)
	}
}

// A page whose rows are large is cut, and the next one goes on behind it.
func TestImportOfLargeMetadata(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "orders", "7d")
	b.predecessor(t, "public.old", 30)
	b.exec(t, `UPDATE public.old SET metadata = to_jsonb(repeat('x', 1 << 20))`)
	got := decode[ops.ImportResult](t, b.ok(t, "import", "-c", "orders", "--from-table", "public.old", "--json"))
	if !got.Complete || got.Rows != 30 || got.Imported != 30 {
		t.Errorf("%+v", got)
	}
}

// The predecessor deletes what has not been read yet.
func TestImportTellsOfRowsThatVanish(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "orders", "30d")
	b.predecessor(t, "public.old", 12000)
	b.exec(t, `CREATE FUNCTION public.vanish() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$ BEGIN DELETE FROM public.old WHERE event_id = 'old-11000'; RETURN NULL; END $$;
		CREATE TRIGGER vanish AFTER INSERT ON idem.processed_events EXECUTE FUNCTION public.vanish()`)
	r := b.run(t, "import", "-c", "orders", "--from-table", "public.old", "--json")
	r.want(t, exitFailure, "only 11,999 of the 12,000 rows", "import again")
	if got := decode[ops.ImportResult](t, r.stdout); got.Complete || got.Rows != 11999 || got.Counted != 12000 {
		t.Errorf("%+v", got)
	}
}

// The second batch waits for a consumer that is processing one of its events when the import
// is interrupted.
func TestInterruptedImportGoesOnLater(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "orders", "30d")
	b.predecessor(t, "public.old", 12000)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	committed := b.tellCommits(t, "INSERT")
	tx := b.hold(t, `INSERT INTO idem.processed_events (consumer_id, key, claim_id, event_id)
		SELECT id, idem.event_key('old-7000'), gen_random_uuid(), 'old-7000' FROM idem.consumers`)
	go func() {
		if committed(ctx) {
			cancel()
		}
	}()

	args := []string{"import", "--from-table", "public.old", "-c", "orders", "--json"}
	r := b.runWith(ctx, strings.NewReader(""), args...)
	r.want(t, exitInterrupted, "interrupted")
	if got := decode[ops.ImportResult](t, r.stdout); got.Complete || got.Rows != 5000 || got.Imported != 5000 {
		t.Errorf("%+v", got)
	}
	contains(t, importText(ops.ImportResult{}), "run the same command again")

	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := decode[ops.ImportResult](t, b.ok(t, args...)); !got.Complete || got.Rows != 12000 || got.AlreadyProcessed != 5000+1 || got.Imported != 12000-5000-1 {
		t.Errorf("%+v", got)
	}
}

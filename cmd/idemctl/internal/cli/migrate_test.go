package cli

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nova-events/idempotent-consumer/ops"
	"github.com/nova-events/idempotent-consumer/schema"
)

const firstMigration = "00001_consumers_and_processed_events.sql"

func TestMigrateUpAndDown(t *testing.T) {
	t.Parallel()
	b := setupEmpty(t)

	pending := decode[ops.Migrations](t, b.ok(t, "migrate", "status", "--json"))
	if pending.Schema != "idem" || pending.Version != 0 || pending.LatestVersion < 1 || pending.Migrations[0].AppliedAt != nil {
		t.Fatalf("%+v", pending)
	}
	contains(t, b.ok(t, "migrate", "status"), "VERSION", "pending", firstMigration, "idemctl migrate up")
	contains(t, b.ok(t, "migrate", "down"), "Nothing to do")
	if n := b.one(t, `SELECT count(*) FROM pg_namespace WHERE nspname = 'idem'`); n != 0 {
		t.Error("looking created the schema")
	}

	up := decode[ops.MigrateResult](t, b.ok(t, "migrate", "up", "--json"))
	if !up.SchemaCreated || up.Version != pending.LatestVersion || len(up.Applied) != len(pending.Migrations) || up.Applied[0].Name != firstMigration || up.Reverted == nil {
		t.Fatalf("%+v", up)
	}
	contains(t, b.ok(t, "migrate", "up"), "Nothing to do")
	contains(t, b.ok(t, "migrate", "up", "--schema", "mistyped"), "created   schema mistyped\napplied   "+firstMigration)
	current := decode[ops.Migrations](t, b.ok(t, "migrate", "status", "--json"))
	if current.Version != current.LatestVersion || slices.ContainsFunc(current.Migrations, func(m ops.Migration) bool { return m.AppliedAt == nil }) {
		t.Fatalf("%+v", current)
	}

	b.register(t, "orders", "7d")
	b.age(t, "orders", 1234)
	down := []string{"migrate", "to", "0"}
	r := b.run(t, down...)
	r.want(t, exitUnconfirmed, "idem.processed_events with 1,234 rows", firstMigration, "processed again", "--yes")
	if r.stdout != "" || b.one(t, `SELECT count(*) FROM idem.processed_events`) != 1234 {
		t.Fatal("something was done without a confirmation", r.stdout)
	}
	contains(t, b.ok(t, append(down, "--yes")...), "reverted  "+firstMigration, "at version 0")
	if n := b.one(t, `SELECT count(*) FROM pg_tables WHERE schemaname = 'idem' AND tablename <> 'idem_migrations'`); n != 0 {
		t.Errorf("%d tables are left", n)
	}
	contains(t, b.ok(t, "migrate", "to", "1"), "applied   "+firstMigration)
	b.run(t, "migrate", "to", "99999").want(t, exitUsage, "no version 99999", "migrate status")
}

func TestMigrateRefusesNewerDatabases(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, `INSERT INTO idem.idem_migrations (version_id, is_applied) VALUES (99999, true)`)
	for _, line := range []string{"up", "down --yes", "to 0 --yes"} {
		r := b.run(t, append([]string{"migrate"}, strings.Fields(line)...)...)
		r.want(t, exitFailure, "at version 99999, newer than")
	}
	// It still works as far as it can.
	want := fmt.Sprintf("99999 (newer than the %d that this idemctl knows)", schema.Version)
	contains(t, b.ok(t, "status"), "migration     "+want)
	contains(t, b.ok(t, "migrate", "status"), "is at version "+want)
	if s := decode[ops.Status](t, b.ok(t, "status", "--json")); s.State != ops.TablesNewer || s.MigrationVersion != 99999 || s.Migrator != ops.MigratorIdemctl {
		t.Errorf("%+v", s)
	}
}

func TestMigrateDownTakesOneStep(t *testing.T) {
	t.Parallel()
	b := setup(t)
	before := decode[ops.Migrations](t, b.ok(t, "migrate", "status", "--json"))
	b.run(t, "migrate", "down").want(t, exitUnconfirmed, before.Migrations[len(before.Migrations)-1].Name)
	down := decode[ops.MigrateResult](t, b.ok(t, "migrate", "down", "-y", "--json"))
	if len(down.Reverted) != 1 || down.Reverted[0].Version != before.Version || down.Version >= before.Version || down.Applied == nil {
		t.Fatalf("%+v", down)
	}
}

func TestMigrateAnotherSchema(t *testing.T) {
	t.Parallel()
	b := setupEmpty(t)
	contains(t, b.ok(t, "migrate", "up", "--schema", "shop"), "schema shop is at version")
	b.env["IDEM_SCHEMA"] = "shop"
	b.register(t, "orders", "7d")
	b.ok(t, "mark", "1", "-c", "orders")
	b.run(t, "migrate", "to", "0").want(t, exitUnconfirmed, "shop.processed_events with 1 row")
	if n := b.one(t, `SELECT count(*) FROM shop.processed_events`); n != 1 {
		t.Errorf("%d rows", n)
	}
}

func TestPrintedMigrationsCreateTheTables(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"idem", "shop"} {
		b := setupEmpty(t)
		b.env["IDEM_SCHEMA"] = name
		up := b.ok(t, "migrate", "print")
		contains(t, up, `CREATE SCHEMA IF NOT EXISTS "`+name+`"`, "-- "+firstMigration)
		b.exec(t, up)
		b.register(t, "orders", "7d") // It works without the version table.
		contains(t, b.ok(t, "status"), "of another migrator")
		if s := decode[ops.Status](t, b.ok(t, "status", "--json")); s.MigrationVersion != schema.Version || s.Migrator != ops.MigratorOther || s.State != ops.TablesCurrent {
			t.Errorf("%+v", s)
		}
		b.exec(t, b.ok(t, "migrate", "print", "--down"))
		if n := b.one(t, `SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace($1)`, name); n != 0 {
			t.Errorf("%s: the way back leaves %d relations", name, n)
		}
	}
}

func TestPrintNeedsNoDatabase(t *testing.T) {
	t.Parallel()
	b := &bundle{env: map[string]string{"DATABASE_URL": "postgres://127.0.0.1:1/none"}}
	up := decode[[]ops.Script](t, b.ok(t, "migrate", "print", "--json"))
	if len(up) < 2 || up[0].Name != "schema" || up[1].Name != firstMigration || !strings.Contains(up[1].SQL, "CREATE TABLE") {
		t.Fatalf("%+v", up)
	}
	down := decode[[]ops.Script](t, b.ok(t, "migrate", "print", "--down", "--json"))
	if len(down) != len(up)-1 || down[len(down)-1].Name != firstMigration || !strings.Contains(down[len(down)-1].SQL, "DROP TABLE") {
		t.Fatalf("%+v", down)
	}
	outside := []ops.Script{{Name: "2.sql", OutsideTransaction: true, SQL: "CREATE INDEX CONCURRENTLY …;\n"}}
	contains(t, scriptsText(outside), "outside of a transaction")
}

func TestPrintedGrants(t *testing.T) {
	t.Parallel()
	b := setup(t)
	role := b.db.Name + "_service"
	b.exec(t, "CREATE ROLE "+role)
	b.exec(t, b.ok(t, "migrate", "print", "--grants", role))
	if n := b.one(t, `SELECT has_table_privilege($1, 'idem.processed_events', 'INSERT')::int`, role); n != 1 {
		t.Error("the role may not claim events")
	}
	b.exec(t, "DROP OWNED BY "+role+"; DROP ROLE "+role)
	b.run(t, "migrate", "print", "--grants", "").want(t, exitUsage, "--grants is empty")
	b.run(t, "migrate", "print", "--grants", role, "--down").want(t, exitUsage, "down", "grants")
}

func TestTablesThatAreTooOld(t *testing.T) {
	t.Parallel()
	// Made by idemctl.
	old := setupEmpty(t)
	before := schema.Version - 1
	old.ok(t, "migrate", "to", strconv.Itoa(before), "--schema", "shop")
	old.run(t, "status", "--schema", "shop").want(t, exitFailure, fmt.Sprintf("schema shop are at version %d, older than the %d", before, schema.Version), `run "idemctl migrate up --schema shop"`)
	contains(t, old.ok(t, "migrate", "status", "--schema", "shop"), "pending", fmt.Sprintf("at version %d (older than the %d of this idemctl)", before, schema.Version), `"idemctl migrate up"`)

	// Made by another migrator, which must go on.
	foreign := setupEmpty(t)
	scripts := decode[[]ops.Script](t, foreign.ok(t, "migrate", "print", "--json"))
	for _, script := range scripts[:len(scripts)-1] {
		foreign.exec(t, script.SQL)
	}
	foreign.run(t, "status").want(t, exitFailure, fmt.Sprintf("at version %d, older than the %d", before, schema.Version), "another migrator made them", "migrate print")
	text := foreign.ok(t, "migrate", "status")
	contains(t, text, "elsewhere", "pending", fmt.Sprintf("at version %d (older than the %d of this idemctl, of another migrator)", before, schema.Version), "Have that migrator")
	if s := decode[ops.Migrations](t, foreign.ok(t, "migrate", "status", "--json")); s.Version != int64(before) || s.State != ops.TablesOlder || s.Migrator != ops.MigratorOther {
		t.Errorf("%+v", s)
	}
	for _, args := range [][]string{{"up"}, {"down", "-y"}, {"to", "0", "-y"}, {"to", "1", "-y"}} {
		foreign.run(t, append([]string{"migrate"}, args...)...).want(t, exitFailure, "made by another migrator", fmt.Sprintf("version %d of %d", before, schema.Version))
	}
	if n := foreign.one(t, `SELECT count(*) FROM pg_tables WHERE tablename = 'idem_migrations'`); n != 0 {
		t.Error("a refused migration leaves a version table")
	}

	// Where another migrator made them, that shows only when something is missing.
	b := setupEmpty(t)
	b.exec(t, b.ok(t, "migrate", "print"))
	b.exec(t, `ALTER TABLE idem.consumers DROP COLUMN created_at`)
	b.run(t, "consumer", "list").want(t, exitFailure, "created_at", "idemctl migrate print")
}

// What cannot work without tables says which command creates them.
func TestCommandsNeedTheTables(t *testing.T) {
	t.Parallel()
	empty := setupEmpty(t)
	for _, line := range []string{
		"status", "show 1", "mark 1 -c c", "forget 1 -c c -y", "cleanup", "cleanup --dry-run",
		"consumer list", "consumer register c", "consumer set-retention c 7d", "import -c c --from-table a.b",
	} {
		r := empty.run(t, strings.Fields(line)...)
		r.want(t, exitFailure, `"idem"`, `idemctl migrate up`)
		r = empty.run(t, append(strings.Fields(line), "--schema", "shop")...)
		r.want(t, exitFailure, `"shop"`, `idemctl migrate up --schema shop`)
		if r.stdout != "" {
			t.Errorf("%s: stdout: %s", line, r.stdout)
		}
	}
}

// A migration waits for another one, and says for which.
func TestMigrateTellsForWhomItWaits(t *testing.T) {
	t.Parallel()
	b := setupEmpty(t)
	b.exec(t, `SELECT pg_advisory_lock($1)`, 0x6964656d)
	pid := b.one(t, `SELECT pg_backend_pid()`)
	told, stderr := io.Pipe()
	var stdout strings.Builder
	ended := make(chan int, 1)
	go func() {
		ended <- Program{Args: []string{"migrate", "up"}, Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: stderr, LookupEnv: lookup(b.env)}.Run(t.Context())
		_ = stderr.Close()
	}()
	line, err := bufio.NewReader(told).ReadString('\n')
	if want := fmt.Sprintf("waiting for the migration of pid %d (role ", pid); err != nil || !strings.HasPrefix(line, want) {
		t.Errorf("%q, %v", line, err)
	}
	b.exec(t, `SELECT pg_advisory_unlock($1)`, 0x6964656d)
	if status := <-ended; status != 0 || !strings.Contains(stdout.String(), "applied") {
		t.Errorf("status %d: %s", status, stdout.String())
	}
}

package migrate_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

// files are migrations made of the statements that go up.
func files(ups ...string) fstest.MapFS {
	all := fstest.MapFS{}
	for i, up := range ups {
		text := "-- +goose Up\n" + up + ";\n-- +goose Down\nSELECT 1;\n"
		if strings.Contains(up, "CONCURRENTLY") {
			text = "-- +goose NO TRANSACTION\n" + text
		}
		all[fmt.Sprintf("%05d_step.sql", i+1)] = &fstest.MapFile{Data: []byte(text)}
	}

	return all
}

// state tells which versions are applied, as in "1 2 -".
func state(t *testing.T, m *migrate.Migrator) string {
	t.Helper()
	migrations, err := m.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, migration := range migrations {
		if migration.AppliedAt.IsZero() {
			all = append(all, "-")
		} else {
			all = append(all, strconv.FormatInt(migration.Version, 10))
		}
	}

	return strings.Join(all, " ")
}

// A migration that fails half way is undone; those before it stay, and the next Up goes on.
func TestFailingMigration(t *testing.T) {
	t.Parallel()
	db := open(t, pgtest.NewEmptyDB(t))
	steps := []string{"CREATE TABLE s.a ()", "CREATE TABLE s.b ();\nSELECT 1/0", "CREATE TABLE s.c ()"}
	m, err := migrate.NewWithFiles(db, "s", files(steps...))
	if err != nil {
		t.Fatal(err)
	}
	taken, err := m.Up(t.Context())
	if err == nil || !strings.Contains(err.Error(), "version:2") || !strings.Contains(err.Error(), "division by zero") {
		t.Errorf("the error does not say which step failed and why: %v", err)
	}
	if len(taken) != 1 || taken[0].Version != 1 || state(t, m) != "1 - -" {
		t.Errorf("steps %+v, state %q", taken, state(t, m))
	}
	const tables = "SELECT tablename FROM pg_tables WHERE schemaname = 's' AND tablename <> 'idem_migrations' ORDER BY 1"
	if got := texts(t, db, tables); !slices.Equal(got, []string{"a"}) {
		t.Errorf("tables: %q", got)
	}

	steps[1] = "CREATE TABLE s.b ()"
	if m, err = migrate.NewWithFiles(db, "s", files(steps...)); err != nil {
		t.Fatal(err)
	}
	if taken := up(t, m); len(taken) != 2 || state(t, m) != "1 2 3" {
		t.Errorf("steps %+v, state %q", taken, state(t, m))
	}
}

// Indexes on large tables are built CONCURRENTLY, outside a transaction. Half of such a
// migration stays, so it must be made such that it can be repeated.
func TestMigrationOutsideTransaction(t *testing.T) {
	t.Parallel()
	db := open(t, pgtest.NewEmptyDB(t))
	steps := []string{
		"CREATE TABLE s.a (n int)",
		"CREATE INDEX CONCURRENTLY IF NOT EXISTS a_n ON s.a (n);\nSELECT 1/0",
	}
	m, err := migrate.NewWithFiles(db, "s", files(steps...))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Up(t.Context()); err == nil || state(t, m) != "1 -" {
		t.Errorf("%v, state %q", err, state(t, m))
	}
	const index = "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 's.a'::regclass AND indisvalid"
	if got := texts(t, db, index); len(got) != 1 {
		t.Errorf("indexes: %q", got)
	}
	steps[1] = "CREATE INDEX CONCURRENTLY IF NOT EXISTS a_n ON s.a (n)"
	if m, err = migrate.NewWithFiles(db, "s", files(steps...)); err != nil {
		t.Fatal(err)
	}
	if up(t, m); state(t, m) != "1 2" {
		t.Errorf("state %q", state(t, m))
	}
	all, err := migrate.ScriptsOf(files(steps...))
	if err != nil || all[0].OutsideTransaction || !all[1].OutsideTransaction {
		t.Errorf("%+v, %v", all, err)
	}
}

// During a rolling update instances of the old release start on the database of the new one.
func TestUpOfAnOlderRelease(t *testing.T) {
	t.Parallel()
	db := open(t, pgtest.NewEmptyDB(t))
	newer, err := migrate.NewWithFiles(db, "s", files("CREATE TABLE s.a ()", "CREATE TABLE s.b ()"))
	if err != nil {
		t.Fatal(err)
	}
	up(t, newer)
	older, err := migrate.NewWithFiles(db, "s", files("CREATE TABLE s.a ()"))
	if err != nil {
		t.Fatal(err)
	}
	if steps := up(t, older); len(steps) != 0 {
		t.Errorf("it took steps: %+v", steps)
	}
	if state(t, newer) != "1 2" {
		t.Errorf("state %q", state(t, newer))
	}
}

// Migrations with lines of any length come out whole.
func TestScriptWithALongLine(t *testing.T) {
	t.Parallel()
	long := "SELECT '" + strings.Repeat("x", 100<<10) + "'"
	all, err := migrate.ScriptsOf(files(long))
	if err != nil || len(all) != 1 || all[0].Up != long+";\n" || all[0].Down != "SELECT 1;\n" {
		t.Errorf("%d scripts, %v", len(all), err)
	}
}

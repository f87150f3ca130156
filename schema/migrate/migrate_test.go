package migrate_test

import (
	"database/sql"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/schema"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// open returns a handle on a database. The search_path is empty, as some services have it.
func open(t *testing.T, db *pgtest.DB) *sql.DB {
	t.Helper()

	return openWith(t, db, "")
}

func openWith(t *testing.T, db *pgtest.DB, searchPath string) *sql.DB {
	t.Helper()
	config, err := pgx.ParseConfig(db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	config.RuntimeParams["search_path"] = searchPath
	handle := stdlib.OpenDB(*config)
	t.Cleanup(func() {
		if err := handle.Close(); err != nil {
			t.Error(err)
		}
	})

	return handle
}

func migrator(t *testing.T, db *sql.DB, name string) *migrate.Migrator {
	t.Helper()
	m, err := migrate.New(db, name)
	if err != nil {
		t.Fatal(err)
	}

	return m
}

func up(t *testing.T, m *migrate.Migrator) []migrate.Migration {
	t.Helper()
	steps, err := m.Up(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	return steps
}

// texts runs a query that returns one text column.
func texts(t *testing.T, db *sql.DB, query string, args ...any) (all []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells.
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			t.Fatal(err)
		}
		all = append(all, text)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}

	return all
}

// catalog describes all that is in a schema but the version table.
func catalog(t *testing.T, db *sql.DB, name string) []string {
	t.Helper()

	return texts(t, db, `
		WITH ns AS (SELECT oid FROM pg_namespace WHERE nspname = $1),
		rel AS (SELECT c.oid, relname, relkind, reloptions FROM pg_class c, ns WHERE relnamespace = ns.oid AND NOT starts_with(relname, 'idem_migrations'))
		SELECT pg_catalog.format('%s %s %s', relkind, relname, reloptions) FROM rel
		UNION ALL SELECT pg_catalog.format('column %s.%s %s %s %s %s %s %s', relname, attnum, attname, format_type(atttypid, atttypmod),
			attnotnull, attidentity, (SELECT collname FROM pg_collation WHERE pg_collation.oid = attcollation), pg_get_expr(adbin, adrelid))
			FROM rel JOIN pg_attribute ON attrelid = rel.oid LEFT JOIN pg_attrdef ON adrelid = rel.oid AND adnum = attnum
			WHERE attnum > 0 AND NOT attisdropped AND relkind IN ('r', 'v')
		UNION ALL SELECT pg_catalog.format('constraint %s %s %s', relname, conname, pg_get_constraintdef(con.oid)) FROM pg_constraint con JOIN rel ON conrelid = rel.oid
		UNION ALL SELECT pg_get_indexdef(indexrelid) FROM pg_index JOIN rel ON indrelid = rel.oid
		UNION ALL SELECT pg_get_functiondef(p.oid) FROM pg_proc p, ns WHERE pronamespace = ns.oid AND prokind = 'f'
		UNION ALL SELECT pg_get_viewdef(oid) FROM rel WHERE relkind = 'v'
		UNION ALL SELECT pg_catalog.format('comment %s.%s %s', relname, objsubid, description) FROM pg_description JOIN rel ON objoid = rel.oid
		UNION ALL SELECT pg_catalog.format('comment on %s %s', proname, description) FROM pg_description JOIN pg_proc p ON objoid = p.oid JOIN ns ON pronamespace = ns.oid
		ORDER BY 1`, name)
}

func wantSame(t *testing.T, what string, got, want []string) {
	t.Helper()
	if len(want) < 20 {
		t.Fatalf("%s: there is little to compare: %d entries", what, len(want))
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: the catalog is\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestUpDownUp(t *testing.T) {
	t.Parallel()
	for _, name := range []string{schema.DefaultName, "other", "public"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := open(t, pgtest.NewEmptyDB(t))
			m := migrator(t, db, name)
			before := catalog(t, db, name)
			steps := up(t, m)
			if len(steps) == 0 || steps[len(steps)-1].Version != m.Latest() || steps[0].AppliedAt.IsZero() || !strings.HasSuffix(steps[0].Name, ".sql") {
				t.Fatalf("steps up: %+v", steps)
			}
			first := catalog(t, db, name)
			if again := up(t, m); len(again) != 0 {
				t.Errorf("a second Up took steps: %+v", again)
			}

			down, err := m.To(t.Context(), 0)
			if err != nil || len(down) != len(steps) || !down[0].AppliedAt.IsZero() {
				t.Fatalf("steps down: %+v, %v", down, err)
			}
			if left := catalog(t, db, name); !slices.Equal(left, before) {
				t.Errorf("down to 0 leaves %q", left)
			}
			up(t, m)
			wantSame(t, "up, down and up", catalog(t, db, name), first)

			states, err := m.Status(t.Context())
			if err != nil || len(states) != len(steps) || states[0].AppliedAt.IsZero() {
				t.Errorf("Status: %+v, %v", states, err)
			}
		})
	}
}

// The scripts make the same of a database as the migrations, and undo it.
func TestScripts(t *testing.T) {
	t.Parallel()
	for _, name := range []string{schema.DefaultName, "other"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			migrated, plain := open(t, pgtest.NewEmptyDB(t)), open(t, pgtest.NewEmptyDB(t))
			up(t, migrator(t, migrated, name))
			scripts, err := migrate.Scripts(name)
			if err != nil {
				t.Fatal(err)
			}
			run := func(sql string) {
				t.Helper()
				if strings.Contains(sql, "+goose") {
					t.Errorf("an annotation is left:\n%s", sql)
				}
				if _, err := plain.ExecContext(t.Context(), sql); err != nil {
					t.Fatal(err)
				}
			}
			run("CREATE SCHEMA " + name)
			for _, script := range scripts {
				run(script.Up)
			}
			wantSame(t, name, catalog(t, plain, name), catalog(t, migrated, name))
			for _, script := range slices.Backward(scripts) {
				run(script.Down)
			}
			if left := catalog(t, plain, name); len(left) != 0 {
				t.Errorf("the scripts leave %q", left)
			}
		})
	}
}

// A schema before pg_catalog in the search_path that redefines all that comes with PostgreSQL changes
// nothing, and the search_path stays as it is.
func TestHostilePublic(t *testing.T) {
	t.Parallel()
	plain := open(t, pgtest.NewEmptyDB(t))
	up(t, migrator(t, plain, schema.DefaultName))
	want := catalog(t, plain, schema.DefaultName)

	migrated := pgtest.NewEmptyDB(t)
	hostile := openWith(t, migrated, hostilePath)
	hostile.SetMaxOpenConns(1)
	m := migrator(t, hostile, schema.DefaultName)
	up(t, m)
	if states, err := m.Status(t.Context()); err != nil || states[0].AppliedAt.IsZero() {
		t.Errorf("Status: %+v, %v", states, err)
	}
	wantSame(t, "migrations", catalog(t, open(t, migrated), schema.DefaultName), want)
	if _, err := m.To(t.Context(), 0); err != nil {
		t.Error(err)
	}
	wantPath(t, hostile)

	printed := pgtest.NewEmptyDB(t)
	hostile = openWith(t, printed, hostilePath)
	hostile.SetMaxOpenConns(1)
	scripts, err := migrate.Scripts(schema.DefaultName)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hostile.ExecContext(t.Context(), "CREATE SCHEMA idem"); err != nil {
		t.Fatal(err)
	}
	for _, script := range scripts {
		if _, err := hostile.ExecContext(t.Context(), script.Up); err != nil {
			t.Fatalf("%s: %v", script.Name, err)
		}
	}
	wantSame(t, "scripts", catalog(t, open(t, printed), schema.DefaultName), want)
	wantPath(t, hostile)
	for _, script := range slices.Backward(scripts) {
		if _, err := hostile.ExecContext(t.Context(), script.Down); err != nil {
			t.Errorf("%s: %v", script.Name, err)
		}
	}
}

// hostilePath has the schema first in which the test databases redefine what comes with PostgreSQL.
const hostilePath = "public, pg_catalog"

func wantPath(t *testing.T, db *sql.DB) {
	t.Helper()
	var got string
	if err := db.QueryRowContext(t.Context(), "SHOW search_path").Scan(&got); err != nil || got != hostilePath {
		t.Errorf("the search_path is %q afterwards, want %q, %v", got, hostilePath, err)
	}
}

func TestStatusChangesNothing(t *testing.T) {
	t.Parallel()
	db := open(t, pgtest.NewEmptyDB(t))
	const objects = `SELECT 'relation ' || oid::text FROM pg_class UNION ALL SELECT 'schema ' || nspname FROM pg_namespace ORDER BY 1`
	before := texts(t, db, objects)
	m := migrator(t, db, schema.DefaultName)
	states, err := m.Status(t.Context())
	if err != nil || int64(len(states)) != m.Latest() || !states[0].AppliedAt.IsZero() {
		t.Errorf("Status: %+v, %v", states, err)
	}
	if after := texts(t, db, objects); !slices.Equal(before, after) {
		t.Error("Status changed an untouched database")
	}
}

func TestUpAtTheSameTime(t *testing.T) {
	t.Parallel()
	db := pgtest.NewEmptyDB(t)
	const processes = 8
	errs := make(chan error, processes)
	for range processes {
		go func() { errs <- migrate.Up(t.Context(), db.DSN, "shared") }()
	}
	for range processes {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	other := open(t, pgtest.NewEmptyDB(t))
	up(t, migrator(t, other, "shared"))
	wantSame(t, "all at once", catalog(t, open(t, db), "shared"), catalog(t, other, "shared"))
}

func TestTwoSchemasInOneDatabase(t *testing.T) {
	t.Parallel()
	db := open(t, pgtest.NewEmptyDB(t))
	one, two := migrator(t, db, "one"), migrator(t, db, "two")
	up(t, one)
	up(t, two)
	want := catalog(t, db, "two")
	if _, err := one.To(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	wantSame(t, "without the other", catalog(t, db, "two"), want)
	if states, err := two.Status(t.Context()); err != nil || states[0].AppliedAt.IsZero() {
		t.Errorf("Status: %+v, %v", states, err)
	}
}

// A service that uses goose itself keeps its own versions.
func TestBesideTheServicesOwnGoose(t *testing.T) {
	t.Parallel()
	db := pgtest.NewEmptyDB(t)
	config, err := pgx.ParseConfig(db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	handle := stdlib.OpenDB(*config)
	defer handle.Close() //nolint:errcheck // Nothing is pending on it.
	service, err := goose.NewProvider(goose.DialectPostgres, handle, files("CREATE TABLE orders ()", "CREATE TABLE bills ()"), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := service.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	m := migrator(t, handle, schema.DefaultName)
	up(t, m)
	if _, err := m.To(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	up(t, m)
	if version, err := service.GetDBVersion(t.Context()); version != 2 || err != nil {
		t.Errorf("the service's version is %d, %v", version, err)
	}
	tables := texts(t, handle, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
	if want := []string{"bills", "goose_db_version", "orders"}; !slices.Equal(tables, want) {
		t.Errorf("the service's tables are %q, want %q", tables, want)
	}
}

// A service asks the function, whoever migrated and whatever it may read.
func TestEachMigrationSetsTheVersion(t *testing.T) {
	t.Parallel()
	db := open(t, pgtest.NewEmptyDB(t))
	m := migrator(t, db, "other")
	if m.Latest() != schema.Version {
		t.Errorf("schema.Version is %d, the latest migration %d", schema.Version, m.Latest())
	}
	want := func(version int64) {
		t.Helper()
		state, err := m.State(t.Context())
		if err != nil || state != (migrate.State{Version: version}) {
			t.Errorf("State at %d: %+v, %v", version, state, err)
		}
		if version == 0 {
			return
		}
		if got := texts(t, db, "SELECT other.schema_version()::text"); got[0] != strconv.FormatInt(version, 10) {
			t.Errorf("schema_version at %d: %s", version, got[0])
		}
	}
	to := func(version int64) {
		t.Helper()
		if _, err := m.To(t.Context(), version); err != nil {
			t.Fatal(err)
		}
		want(version)
	}
	want(0)
	for version := int64(1); version <= m.Latest(); version++ {
		to(version)
	}
	for version := m.Latest() - 1; version >= 0; version-- {
		to(version)
	}
}

package schema_test

import (
	"errors"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/nova-events/idempotent-consumer/schema"
)

func TestValidate(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"idem": true, "a": true, "_": true, "a_1": true, "select": true, "public": true, strings.Repeat("x", 63): true,
		"": false, "1a": false, "A": false, "a-b": false, "a b": false, "a.b": false, `a"b`: false, "a'b": false, "é": false,
		"a\n": false, "a\x00": false, "pg_x": false, "pg_": false, strings.Repeat("x", 64): false,
	} {
		err := schema.Validate(name)
		if (err == nil) != want || err != nil && !errors.Is(err, schema.ErrInvalidName) {
			t.Errorf("Validate(%q): %v", name, err)
		}
		if _, err := schema.FS(name); (err == nil) != want {
			t.Errorf("FS(%q): %v", name, err)
		}
	}
}

// names are schema names that could trip the replacement: similar to the old one, to a
// reference of a regular expression, or to a word of SQL.
var names = []string{"other", "idem_2", "xidem", "_idem", "idemidem", "select", "table", "a1"}

var unqualified = regexp.MustCompile(`(^|[^a-z0-9_"])idem\.`)

// All SQL of the module that is qualified with the default name is so with any other, in string
// literals too, and back again.
func TestQualify(t *testing.T) {
	t.Parallel()
	for path, sql := range allSQL(t) {
		if schema.Qualify(sql, schema.DefaultName) != sql {
			t.Errorf("%s: Qualify changes the default", path)
		}
		for _, name := range names {
			got := schema.Qualify(sql, name)
			if found := unqualified.FindString(got); found != "" {
				t.Errorf("%s: for %s there remains %q", path, name, found)
			}
			if strings.Count(got, `"`+name+`".`) != strings.Count(sql, "idem.") {
				t.Errorf("%s: for %s not every name is replaced", path, name)
			}
			if back := strings.ReplaceAll(got, `"`+name+`".`, "idem."); back != sql {
				t.Errorf("%s: for %s more than the qualifier is replaced", path, name)
			}
		}
	}
	for sql, want := range map[string]string{
		`SELECT 'idem.t'::regclass`: `SELECT '"x".t'::regclass`,
		`idem.t idem.u(idem.f())`:   `"x".t "x".u("x".f())`,
		`pidem.t`:                   `pidem.t`,
		`idem `:                     `idem `,
	} {
		if got := schema.Qualify(sql, "x"); got != want {
			t.Errorf("Qualify(%s) = %s, want %s", sql, got, want)
		}
	}
}

// allSQL is the SQL of the migrations and the queries.
func allSQL(t *testing.T) map[string]string {
	t.Helper()
	migrations, err := schema.FS(schema.DefaultName)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for folder, files := range map[string]fs.FS{"schema/": migrations, "queries/": os.DirFS("../queries")} {
		found, err := fs.Glob(files, "*.sql")
		if err != nil || len(found) == 0 {
			t.Fatal("no files in", folder, err)
		}
		for _, name := range found {
			text, err := fs.ReadFile(files, name)
			if err != nil {
				t.Fatal(err)
			}
			all[folder+name] = string(text)
		}
	}

	return all
}

func TestFS(t *testing.T) {
	t.Parallel()
	for _, name := range []string{schema.DefaultName, "other"} {
		files, err := schema.FS(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := fstest.TestFS(files, "00001_consumers_and_processed_events.sql"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestGrantsRefuseNonsense(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]string{{"A", "r"}, {"a", ""}, {"a", "r\x00"}} {
		if sql, err := schema.Grants(c[0], c[1]); err == nil {
			t.Errorf("Grants(%q, %q): %s", c[0], c[1], sql)
		}
	}
	for role, quoted := range map[string]string{`we"ird`: `"we""ird"`, "idem.reader": `"idem.reader"`} {
		sql, err := schema.Grants("other", role)
		if err != nil || strings.Contains(sql, "ON idem.") || strings.Count(sql, "TO "+quoted+";") != strings.Count(sql, "GRANT ") || !strings.Contains(sql, `ON SCHEMA "other" TO `) {
			t.Errorf("%s, %v", sql, err)
		}
	}
}

// Rights are read from the statements of Grants: those that are looked for, and none besides.
func TestRightsAreThoseOfGrants(t *testing.T) {
	t.Parallel()
	count := make(map[schema.Right]int)
	for _, right := range schema.Rights() {
		count[right]++
	}
	for _, right := range []schema.Right{
		{Privilege: "USAGE"}, {Privilege: "SELECT", Table: "consumers"}, {Privilege: "INSERT", Table: "consumers", Column: "retention"},
		{Privilege: "UPDATE", Table: "consumers", Column: "bound_group"}, {Privilege: "DELETE", Table: "processed_events"},
		{Privilege: "UPDATE", Table: "cleanup"}, {Privilege: "UPDATE", Table: "checkpoints"},
		{Privilege: "UPDATE", Table: "dead_letters", Column: "claim_id"}, {Privilege: "UPDATE", Table: "dead_letters", Column: "header_values"},
		{Privilege: "INSERT", Table: "outbox", Column: "topic"}, {Privilege: "SELECT", Table: "outbox_id_seq"},
	} {
		if count[right] != 1 {
			t.Errorf("%+v is there %d times", right, count[right])
		}
	}
	const wholes, columns = 22, 43
	if len(count) != wholes+columns {
		t.Errorf("%d rights, want %d of the schema and whole tables, and %d of columns", len(count), wholes, columns)
	}
}

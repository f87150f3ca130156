//go:build verify

package verify_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// sqlc's parser of PostgreSQL runs without C, which makes building it a matter of seconds.
var withoutC = []string{"CGO_ENABLED=0"}

// handwritten are the files in db that are not generated.
var handwritten = map[string]bool{"doc.go": true}

// TestGeneratedCode generates the code into an empty folder, so that it also finds files
// that would no longer be generated.
func TestGeneratedCode(t *testing.T) {
	t.Parallel()
	clean := t.TempDir()
	for _, input := range []string{"queries", "schema"} {
		if err := os.CopyFS(filepath.Join(clean, input), os.DirFS(filepath.Join(root, input))); err != nil {
			t.Fatal(err)
		}
	}
	config := filepath.Join(clean, "sqlc.yaml")
	if err := os.WriteFile(config, read(t, filepath.Join(root, "sqlc.yaml")), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, root, "Mend what sqlc complains about in queries/ or schema/.", withoutC,
		"go", "tool", "-modfile=tools/sqlc/go.mod", "sqlc", "generate", "--file", config)
	run(t, filepath.Join(root, "internal/qualifysql"), "Mend the query in queries/: its names need a schema.", withoutC,
		"go", "run", ".", filepath.Join(clean, "db"))

	compareFolders(t, filepath.Join(clean, "db"), filepath.Join(root, "db"))
}

// TestGeneratedExample is TestGeneratedCode for the example that shows sqlc.
func TestGeneratedExample(t *testing.T) {
	t.Parallel()
	clean, example := t.TempDir(), filepath.Join(root, "examples", "sqlc")
	for _, input := range []string{"sqlc.yaml", "schema.sql", "queries.sql"} {
		if err := os.WriteFile(filepath.Join(clean, input), read(t, filepath.Join(example, input)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run(t, root, "Mend what sqlc complains about in examples/sqlc.", withoutC,
		"go", "tool", "-modfile=tools/sqlc/go.mod", "sqlc", "generate", "--file", filepath.Join(clean, "sqlc.yaml"))
	compareFolders(t, filepath.Join(clean, "db"), filepath.Join(example, "db"))
}

// TestGeneratedClient is TestGeneratedCode for the client of ent that the tests of idemsql use.
func TestGeneratedClient(t *testing.T) {
	t.Parallel()
	clean, tests := t.TempDir(), filepath.Join(root, "idemsql", "ormtest")
	here, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	replaced := strings.NewReplacer("=> ../..", "=> "+here, "=> ..", "=> "+filepath.Join(here, "idemsql"))
	for name, content := range map[string]string{
		"go.mod":               replaced.Replace(string(read(t, filepath.Join(tests, "go.mod")))),
		"go.sum":               string(read(t, filepath.Join(tests, "go.sum"))),
		"ent/schema/effect.go": string(read(t, filepath.Join(tests, "ent", "schema", "effect.go"))),
	} {
		file := filepath.Join(clean, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	run(t, clean, "Mend the schema in idemsql/ormtest/ent/schema.", nil, "go", "tool", "ent", "generate", "./ent/schema")
	compareFolders(t, filepath.Join(clean, "ent"), filepath.Join(tests, "ent"))
}

// compareFolders compares what was generated just now with what is in the repository.
func compareFolders(t *testing.T, generated, committed string) {
	t.Helper()
	want, got := contents(t, generated), contents(t, committed)
	for name, code := range want {
		if !bytes.Equal(got[name], code) {
			t.Errorf("%s is not what is made of the queries and the schema: run \"make generate\"", filepath.Join(committed, name))
		}
	}
	for name := range got {
		if _, generated := want[name]; !generated && !handwritten[name] {
			t.Errorf("%s is not generated from anything (any longer): delete it", filepath.Join(committed, name))
		}
	}
}

// TestQueriesPrepare has a real server prepare every query, which finds what sqlc's own
// parser lets pass.
func TestQueriesPrepare(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDB(t)
	dsn := db.DSN + "?search_path=pg_catalog" // Names get their schema only in db/, and public is hostile.
	if strings.Contains(db.DSN, "?") {
		dsn = db.DSN + "&search_path=pg_catalog"
	}
	run(t, root, "Mend the query that PostgreSQL rejects, in queries/.", append(withoutC, "IDEM_VET_DATABASE_URL="+dsn),
		"go", "tool", "-modfile=tools/sqlc/go.mod", "sqlc", "vet")
}

// contents are the files of a folder and of those in it.
func contents(t *testing.T, folder string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := fs.WalkDir(os.DirFS(folder), ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			all[name] = read(t, filepath.Join(folder, name))
		}

		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	return all
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}

	return content
}

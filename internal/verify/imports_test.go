//go:build verify

package verify_test

import (
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// importer is who may import a package of ours.
type importer struct {
	folders []string // and what is in them
	tests   bool     // also the tests of all others
	advice  string
}

func (i importer) may(folder string, test bool) bool {
	return test && i.tests || slices.ContainsFunc(i.folders, func(allowed string) bool {
		return folder == allowed || strings.HasPrefix(folder, allowed+"/")
	})
}

// importers are those of the packages that not everybody may import.
var importers = map[string]importer{
	"db":  {folders: []string{"idem", "internal/modelpg", "internal/tables", "lease", "outbox", "ops"}, advice: "services use idem, lease and outbox, operators ops"},
	"ops": {folders: []string{"cmd", "console", "e2e/chaos", "examples/demo", "idem/idemtest", "internal/kafkafacts"}, tests: true, advice: "imports point down: what both need belongs in idem"},
}

// TestImporters checks the packages of all modules.
func TestImporters(t *testing.T) {
	t.Parallel()
	for _, file := range files(t, "go.mod") {
		folder := filepath.Dir(file)
		if strings.Contains(folder, "/tools/") {
			continue // There are no packages.
		}
		listed := json.NewDecoder(strings.NewReader(run(t, folder, "Make the packages compile.", nil,
			"go", "list", "-tags=verify", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")))
		for {
			var from struct {
				ImportPath   string   `json:"ImportPath"`   //nolint:tagliatelle // The go command chose the names.
				Imports      []string `json:"Imports"`      //nolint:tagliatelle // As above.
				TestImports  []string `json:"TestImports"`  //nolint:tagliatelle // As above.
				XTestImports []string `json:"XTestImports"` //nolint:tagliatelle // As above.
			}
			err := listed.Decode(&from)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			place := strings.TrimPrefix(from.ImportPath, module+"/")
			for name, allowed := range importers {
				path := module + "/" + name
				if slices.Contains(from.Imports, path) && !allowed.may(place, false) {
					t.Errorf("%s imports %s: %s", place, name, allowed.advice)
				}
				if slices.Contains(slices.Concat(from.TestImports, from.XTestImports), path) && !allowed.may(place, true) {
					t.Errorf("the tests of %s import %s: %s", place, name, allowed.advice)
				}
			}
		}
	}
}

// generatedName is the name of something in db.
var generatedName = regexp.MustCompile(`\bdb\.[A-Z]\w*`)

// TestPublicAPI checks that what is generated stays hidden: services would depend on it.
func TestPublicAPI(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"./idem", "./idem/idemtest", "./consume", "./idemhttp", "./kafkaadapter", "./lease", "./outbox", "./ops", "./console", "./franzadapter", "./idemotel", "./idemsql"} {
		doc := run(t, filepath.Join(root, name), "Make the package compile.", nil, "go", "doc", "-all")
		for _, found := range generatedName.FindAllString(doc, -1) {
			t.Errorf("the API of %s shows %s: use a type of its own", name, found)
		}
	}
}

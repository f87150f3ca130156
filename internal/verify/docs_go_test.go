//go:build verify

package verify_test

import (
	"errors"
	"fmt"
	"go/ast"
	goimporter "go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// given is what fragments may use.
const given = "testdata/given.go"

// TestDocsGoCode compiles the documentation's Go code. A block that begins with "package" is a program. Others are
// declarations or statements, with the imports and names of testdata/given.go; statements may return anything. What
// cannot be compiled is marked as "go sketch".
func TestDocsGoCode(t *testing.T) {
	t.Parallel()
	packages := &compiler{files: token.NewFileSet()}
	names := packages.parse(t, string(read(t, given)))
	for page, content := range docs(t) {
		for _, block := range content.Blocks {
			if block.Info != "go" {
				continue
			}
			place := fmt.Sprintf("%s:%d", page, block.Line)
			if strings.HasPrefix(block.Text, "package ") {
				packages.programs = append(packages.programs, []*ast.File{packages.parse(t, located(place, block.Text))})
			} else {
				packages.programs = append(packages.programs, []*ast.File{names, packages.fragment(t, place, block.Text, names.Imports)})
			}
		}
	}
	packages.check(t)
	if len(packages.programs) < 6 {
		t.Errorf("%d blocks were compiled", len(packages.programs))
	}
}

// compiler checks programs against the packages that the module of the examples knows, which are those of all
// modules that services use.
type compiler struct {
	files    *token.FileSet
	programs [][]*ast.File
}

func (c *compiler) parse(t *testing.T, source string) *ast.File {
	t.Helper()
	file, err := parser.ParseFile(c.files, "", source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatalf("mend the code: %v", err)
	}

	return file
}

// fragment makes a file of declarations or of statements.
func (c *compiler) fragment(t *testing.T, place, text string, imports []*ast.ImportSpec) *ast.File {
	t.Helper()
	var lines strings.Builder
	lines.WriteString("package given\n")
	for _, spec := range imports {
		lines.WriteString("import " + spec.Path.Value + "\n")
	}
	head := lines.String()
	declarations := head + located(place, text)
	if _, err := parser.ParseFile(token.NewFileSet(), "", declarations, 0); err == nil {
		return c.parse(t, declarations)
	}

	return c.parse(t, head+"func _() any {\n"+located(place, text)+"\nreturn nil\n}\n")
}

// located has errors name the line in the documentation.
func located(place, text string) string { return "//line " + place + "\n" + text }

func (c *compiler) check(t *testing.T) {
	t.Helper()
	imported := map[string]bool{}
	for _, program := range c.programs {
		for _, file := range program {
			for _, spec := range file.Imports {
				path, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					t.Fatal(err)
				}
				imported[path] = true
			}
		}
	}
	list := []string{"list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}"}
	for path := range imported {
		list = append(list, path)
	}
	exports := map[string]string{}
	for line := range strings.Lines(run(t, filepath.Join(root, "examples"), "Have the examples need the package that the documentation imports.", nil, "go", list...)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		exports[path] = file
	}
	known := goimporter.ForCompiler(c.files, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	for _, program := range c.programs {
		config := types.Config{Importer: known, Error: func(err error) {
			// Soft is what keeps nothing from being compiled: fragments leave variables and imports unused.
			var found types.Error
			if !errors.As(err, &found) || !found.Soft {
				t.Errorf("mend the code, or give it what it needs in %s: %v", given, err)
			}
		}}
		_, _ = config.Check("given", c.files, program, nil) // Error gets the errors.
	}
}

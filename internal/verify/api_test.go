//go:build verify

package verify_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	goimporter "go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the files in api/ (\"make api\")")

// TestAPI compares what the packages of services and operators export with what api/ says of it, so that each
// change of it is seen in a diff. A line that goes breaks somebody.
func TestAPI(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(root, "api")
	current := map[string][]byte{}
	for _, name := range modules {
		for path, lines := range exported(t, filepath.Join(root, name)) {
			file := strings.ReplaceAll(strings.TrimPrefix(path, module+"/"), "/", "-") + ".txt"
			current[file] = []byte(strings.Join(lines, "\n") + "\n")
		}
	}
	if *update {
		if err := errors.Join(os.RemoveAll(folder), os.Mkdir(folder, 0o755)); err != nil { //nolint:gosec // Everybody reads it.
			t.Fatal(err)
		}
		for file, lines := range current {
			if err := os.WriteFile(filepath.Join(folder, file), lines, 0o644); err != nil { //nolint:gosec // As above.
				t.Error(err)
			}
		}

		return
	}
	recorded := contents(t, folder)
	for file, lines := range current {
		if !bytes.Equal(lines, recorded[file]) {
			t.Errorf("api/%s is not what the package exports: run \"make api\", look at the diff, and commit it", file)
		}
	}
	for file := range recorded {
		if current[file] == nil {
			t.Errorf("api/%s is of no package (any longer): run \"make api\"", file)
		}
	}
}

// exported are the public packages of a module, by their paths, with a line for each thing that they export.
func exported(t *testing.T, folder string) map[string][]string {
	t.Helper()
	if run(t, folder, "Make the packages compile.", nil, "go", "build", "-o", os.DevNull, "./..."); t.Failed() {
		t.FailNow() // The list would be long and of no use.
	}
	compiled, ours := map[string]string{}, []string{}
	listed := run(t, folder, "Mend the test.", nil,
		"go", "list", "-deps", "-export", "-f={{.ImportPath}}\t{{.DepOnly}}\t{{.Name}}\t{{.Export}}", "./...")
	for line := range strings.Lines(listed) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		path, needed, name := fields[0], fields[1] == "true", fields[2]
		compiled[path] = fields[3]
		if !needed && name != "main" && !strings.Contains(path, "/internal/") && path != module+"/db" {
			ours = append(ours, path)
		}
	}
	load := goimporter.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) { return os.Open(compiled[path]) })
	packages := map[string][]string{}
	for _, path := range ours {
		p, err := load.Import(path)
		if err != nil {
			t.Fatal(err)
		}
		packages[path] = exports(p)
	}

	return packages
}

// exports are lines such as "type Config struct, Schema string".
func exports(p *types.Package) []string {
	qualifier := func(other *types.Package) string {
		if other == p {
			return ""
		}

		return strings.TrimPrefix(other.Path(), module+"/")
	}
	var lines []string
	for _, name := range p.Scope().Names() {
		object := p.Scope().Lookup(name)
		if !object.Exported() {
			continue
		}
		switch object := object.(type) {
		case *types.Const:
			lines = append(lines, "const "+name+" "+types.TypeString(object.Type(), qualifier))
		case *types.TypeName:
			lines = append(lines, typeLines(object, qualifier)...)
		default:
			lines = append(lines, types.ObjectString(object, qualifier))
		}
	}
	slices.Sort(lines)

	return lines
}

// typeLines tells a type: each field and each method in a line of its own, and an interface, to which nothing can
// be added, in one.
func typeLines(object *types.TypeName, qualifier types.Qualifier) []string {
	head := "type " + object.Name()
	structure, isStruct := object.Type().Underlying().(*types.Struct)
	if object.IsAlias() || !isStruct {
		head = types.ObjectString(object, qualifier)
	} else {
		head += " struct"
	}
	lines := []string{head}
	if object.IsAlias() {
		return lines
	}
	if isStruct {
		for field := range structure.Fields() {
			if field.Exported() {
				lines = append(lines, head+", "+strings.TrimPrefix(types.ObjectString(field, qualifier), "field "))
			}
		}
	}
	if types.IsInterface(object.Type()) {
		return lines
	}
	values := types.NewMethodSet(object.Type())
	for method := range types.NewMethodSet(types.NewPointer(object.Type())).Methods() {
		if !method.Obj().Exported() {
			continue
		}
		receiver := object.Name()
		if values.Lookup(method.Obj().Pkg(), method.Obj().Name()) == nil {
			receiver = "*" + receiver
		}
		signature := strings.TrimPrefix(types.TypeString(method.Type(), qualifier), "func")
		lines = append(lines, fmt.Sprintf("method (%s) %s%s", receiver, method.Obj().Name(), signature))
	}

	return lines
}

//go:build verify

package verify_test

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nova-events/idempotent-consumer/internal/licences"
)

// modules are those that a release consists of, by their folders. All are tagged with its version.
var modules = []string{".", "franzadapter", "idemotel", "idemsql", "internal/embeddedpg"} // The last downloads PostgreSQL for a service's tests.

var releasing = flag.String("release", "", "check that the checkout can be released as this `VERSION` (\"make release-check\")")

// ourModule is a line of a go.mod that requires one of our modules.
var ourModule = regexp.MustCompile(`(?m)^(?:require)?\s+` + regexp.QuoteMeta(module) + `\S* (v\S+)`)

// required is the version of our modules that the nested ones require, and so the only one as which they
// can be released: whoever imports them gets what is required, not what is replaced in this checkout.
func required(t *testing.T) string {
	t.Helper()
	found := ourModule.FindSubmatch(read(t, filepath.Join(root, "franzadapter", "go.mod")))
	if found == nil {
		t.Fatal("franzadapter/go.mod does not require the root module")
	}

	return string(found[1])
}

func TestModulesRequireOneVersion(t *testing.T) {
	t.Parallel()
	version := required(t)
	for _, file := range files(t, "go.mod") {
		for _, found := range ourModule.FindAllSubmatch(read(t, file), -1) {
			if string(found[1]) != version {
				t.Errorf("%s requires %s of our modules, franzadapter %s: run \"make release-version VERSION=…\"", file, found[1], version)
			}
		}
	}
}

// TestNestedModulesInstall gets the nested modules of a release as a service does, without this checkout.
func TestNestedModulesInstall(t *testing.T) {
	t.Parallel()
	environment := published(t)
	home := t.TempDir()
	run(t, home, "Mend the test.", environment, "go", "mod", "init", "example.com/service")
	for _, name := range modules[1:] {
		path := module + "/" + name
		run(t, home, "Mend the module's go.mod.", environment, "go", "get", path+"@"+required(t))
		run(t, home, "Mend the module.", environment, "go", "build", "-o", os.DevNull, path)
	}
}

var (
	version = regexp.MustCompile(`^v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)$`)
	heading = regexp.MustCompile(`(?m)^## (.+)$`)
)

// TestRelease checks what is to be released as docs/release.md says.
func TestRelease(t *testing.T) {
	t.Parallel()
	if *releasing == "" {
		t.Skip("nothing is to be released; \"make release-check VERSION=v1.2.3\" gives a version")
	}
	parts := version.FindStringSubmatch(*releasing)
	if parts == nil {
		t.Fatalf("%q is not a version such as v1.2.3", *releasing)
	}
	if required(t) != *releasing {
		t.Errorf("the nested modules require %s: run \"make release-version VERSION=%s\"", required(t), *releasing)
	}
	if first := heading.FindSubmatch(read(t, filepath.Join(root, "CHANGELOG.md"))); first == nil || !strings.HasPrefix(string(first[1]), *releasing+" ") {
		t.Errorf("CHANGELOG.md begins with %q: it must be \"## %s (date)\"", first, *releasing)
	}
	if changed := run(t, root, "Mend the checkout.", nil, "git", "status", "--porcelain"); changed != "" {
		t.Errorf("commit first:\n%s", changed)
	}
	tags := strings.Fields(run(t, root, "Mend the checkout.", nil, "git", "tag", "--list"))
	for _, name := range modules {
		if tag := strings.TrimPrefix(name+"/", "./") + *releasing; slices.Contains(tags, tag) {
			t.Errorf("there is a tag %s already", tag)
		}
	}

	described, err := exec.CommandContext(t.Context(), "git", "-C", root, "describe", "--tags", "--abbrev=0", "--match=v[0-9]*").Output()
	previous := strings.TrimSpace(string(described))
	if err != nil {
		t.Log("no tag v… is reachable: this is the first release, and its API is compared with nothing")

		return
	}
	if !strings.Contains(string(read(t, filepath.Join(root, "e2e", "upgrade_test.go"))), `"`+previous+`"`) {
		t.Errorf("e2e/upgrade_test.go upgrades from another release than %s: set previousRelease", previous)
	}
	before := version.FindStringSubmatch(previous)
	breaks := before != nil && (parts[1] != before[1] || parts[1] == "0" && parts[2] != before[2])
	for line := range strings.Lines(run(t, root, "Mend the checkout.", nil, "git", "diff", "--unified=0", previous, "--", "api")) {
		if gone, removed := strings.CutPrefix(line, "-"); removed && !strings.HasPrefix(line, "---") {
			if t.Logf("gone since %s: %s", previous, gone); !breaks {
				t.Errorf("%s may not take away from the API of %s", *releasing, previous)
			}
		}
	}
}

// TestLicences checks the licences of all that services inherit.
func TestLicences(t *testing.T) {
	t.Parallel()
	for _, name := range modules {
		used, err := licences.Of(t.Context(), filepath.Join(root, name), "./...")
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, m := range used {
			t.Logf("%s: %s %s: %s", name, m.Path, m.Version, strings.Join(m.Licences, ", "))
		}
	}
}

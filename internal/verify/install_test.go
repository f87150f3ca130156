//go:build verify

package verify_test

import (
	"archive/zip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nova-events/idempotent-consumer/internal/markdown"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// TestQuickStart does what docs/quick-start.md says, in an empty folder and with an in-process broker. It finds commands
// that need more than they say, output that is no longer so, and files that a release lacks.
func TestQuickStart(t *testing.T) {
	t.Parallel()
	page := docs(t)["docs/quick-start.md"]
	db := pgtest.NewEmptyDB(t)
	home, bin := t.TempDir(), t.TempDir()
	broker := filepath.Join(bin, "withkafka")
	run(t, filepath.Join(root, "examples"), "Mend the test's broker.", nil, "go", "build", "-o", broker, "./internal/withkafka")
	environment := append(published(t), "DATABASE_URL="+db.DSN, "GOBIN="+bin)
	var script strings.Builder
	script.WriteString("set -eu\n")
	for _, command := range page.Commands("go") {
		switch line := strings.Join(command.Words, " "); line {
		default:
			script.WriteString(line + " >&2\n")

			continue
		case "go tool idemctl migrate up":
			script.WriteString(line + " >migrated\n")

			continue
		case "go run .":
		}
		script.WriteString(`go build -o service .
			./service &
			for try in $(seq 600); do go tool idemctl show order-1 >/dev/null 2>&1 && break; sleep 0.1; done
			kill -INT $!
			wait $!
		`)
	}
	writePrograms(t, home, page)
	printed := run(t, home, "Mend the quick start, or what keeps it from working.", environment, broker, "bash", "-c", script.String())
	text := string(read(t, filepath.Join(root, "docs/quick-start.md")))
	for what, printed := range map[string]string{"consumer": printed, "migration": string(read(t, filepath.Join(home, "migrated")))} {
		if printed == "" || !strings.Contains(text, "\n"+printed) {
			t.Errorf("mend what the quick start says that the %s prints:\n%s", what, printed)
		}
	}
	run(t, home, "Mend what the quick start imports.", environment, "go", "vet", "./...")

	release := required(t)
	const tool = module + "/cmd/idemctl"
	run(t, home, "Mend what keeps idemctl from being installed.", environment, "go", "install", tool+"@"+release)
	if got := run(t, home, "Mend idemctl.", environment, filepath.Join(bin, "idemctl"), "version"); !strings.Contains(got, release) {
		t.Errorf("idemctl version says %q, want %s", got, release)
	}
}

// writePrograms writes the quick start's programs into the files that it names.
func writePrograms(t *testing.T, home string, page *markdown.Page) {
	t.Helper()
	programs := slices.DeleteFunc(slices.Clone(page.Blocks), func(block markdown.Code) bool { return block.Info != "go" })
	names := []string{"main.go", "send/main.go"}
	if len(programs) != len(names) {
		t.Fatalf("the quick start has %d programs: mend it or this test, which knows %q", len(programs), names)
	}
	if err := os.Mkdir(filepath.Join(home, "send"), 0o750); err != nil {
		t.Fatal(err)
	}
	for i, name := range names {
		if err := os.WriteFile(filepath.Join(home, name), []byte(programs[i].Text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestServiceTestsItsHandlers runs a service's test that has nothing but a release of the root module: PostgreSQL is
// downloaded by what is released beside it.
func TestServiceTestsItsHandlers(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	environment := append(published(t), "IDEM_TEST_DATABASE_URL=", "IDEM_TEST_PG=embedded")
	test := `package service

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"` + module + `/consume"
	"` + module + `/idem"
	"` + module + `/idem/idemtest"
)

func TestHandler(t *testing.T) {
	guard, err := idem.New(idemtest.Pool(t), idem.Config{Consumer: "service"})
	if err != nil {
		t.Fatal(err)
	}
	handle := func(ctx context.Context, tx pgx.Tx, m consume.Message) error { return nil }
	idemtest.Consume(t, guard, consume.Config{Handle: handle, EventID: consume.TopicPartitionOffset()}, consume.Record{Topic: "orders"})
	idemtest.Processed(t, guard, "orders-0-0")
}
`
	if err := os.WriteFile(filepath.Join(home, "service_test.go"), []byte(test), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, home, "Mend the test.", environment, "go", "mod", "init", "example.com/service")
	run(t, home, "Mend the test.", environment, "go", "get", module+"/idem@"+required(t))
	run(t, home, "Mend the test.", environment, "go", "mod", "tidy")
	run(t, home, "Mend what keeps a service from using idemtest.", environment, "go", "test", "./...")
	run(t, home, "Mend what keeps a service from using idemtest.", environment, "go", "mod", "vendor")
	run(t, home, "Mend what a vendored service needs.", append(environment, "GOFLAGS=-mod=vendor -modcacherw"), "go", "test", "-count=1", "-trimpath", "./...")
}

// published returns the environment in which the go command finds this checkout as a release. All else
// comes from the usual module cache or proxy, and nothing is kept there.
func published(t *testing.T) []string {
	t.Helper()
	proxy := t.TempDir()
	for _, name := range modules {
		publish(t, proxy, name)
	}
	known := strings.Fields(run(t, root, "Mend the Go installation.", nil, "go", "env", "GOMODCACHE", "GOPROXY"))
	if len(known) != 2 {
		t.Fatalf("go env says %q", known)
	}

	return []string{
		"GOPROXY=file://" + proxy + ",file://" + filepath.Join(known[0], "cache", "download") + "," + known[1],
		"GOMODCACHE=" + t.TempDir(), "GOFLAGS=-modcacherw", "GOSUMDB=off", "GOWORK=off",
		"GOENV=off", "GONOPROXY=", "GOPRIVATE=", // A GONOPROXY, even "none", hides a nested module from "go get" if the root is cached.
	}
}

// publish has the proxy offer the module in a folder of the checkout.
func publish(t *testing.T, proxy, name string) {
	t.Helper()
	release := required(t)
	path := filepath.Join(module, name)
	folder := filepath.Join(proxy, path, "@v")
	if err := os.MkdirAll(folder, 0o750); err != nil {
		t.Fatal(err)
	}
	write := func(file string, content []byte) {
		if err := os.WriteFile(filepath.Join(folder, file), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("list", []byte(release+"\n"))
	write(release+".info", []byte(`{"Version":"`+release+`"}`))
	write(release+".mod", read(t, filepath.Join(root, name, "go.mod")))
	pack(t, filepath.Join(folder, release+".zip"), name, path+"@"+release)
}

// pack writes the files of a module in a folder of the checkout as the go command wants them.
func pack(t *testing.T, archivePath, folder, prefix string) {
	t.Helper()
	file, err := os.Create(archivePath)
	if err != nil {
		t.Fatal(err)
	}
	archive := zip.NewWriter(file)
	names := strings.Fields(run(t, filepath.Join(root, folder), "Mend the checkout.", nil, "git", "ls-files", "--cached", "--others", "--exclude-standard"))
	var nested []string
	for _, name := range names {
		if inner, isModule := strings.CutSuffix(name, "go.mod"); isModule && inner != "" {
			nested = append(nested, inner)
		}
	}
	for _, name := range names {
		content, err := os.ReadFile(filepath.Join(root, folder, name))
		switch {
		case slices.ContainsFunc(nested, func(inner string) bool { return strings.HasPrefix(name, inner) }):
			continue
		case os.IsNotExist(err):
			continue // Deleted and not committed.
		case err != nil:
			t.Fatal(err)
		}
		entry, err := archive.Create(prefix + "/" + name)
		if err == nil {
			_, err = entry.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}

//go:build verify

package verify_test

import (
	"archive/zip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// release is the version as which the proxy offers this checkout.
const release = "v0.0.1"

// TestInstall does what the README says in an empty module: with the commands as they stand there, and
// with its program. It finds commands that need more than they say, and files that a release lacks.
func TestInstall(t *testing.T) {
	t.Parallel()
	commands, program := usage(t)
	db := pgtest.NewEmptyDB(t)
	home, bin := t.TempDir(), t.TempDir()
	environment := append(released(t), "DATABASE_URL="+db.DSN, "GOBIN="+bin)
	run(t, home, "Mend the test.", environment, "go", "mod", "init", "example.com/service")
	for _, command := range commands {
		run(t, home, "Mend the README, or what keeps its command from working.", environment, "bash", "-c", command)
	}
	if err := os.WriteFile(filepath.Join(home, "main.go"), []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, home, "Mend the README's program.", environment, "go", "vet", ".")
	run(t, home, "Mend the README.", environment, "go", "mod", "tidy")
	for _, command := range commands {
		run(t, home, "Mend the README: \"go mod tidy\" undoes its commands.", environment, "bash", "-c", command)
	}

	const tool = module + "/cmd/idemctl"
	run(t, home, "Mend what keeps idemctl from being installed.", environment, "go", "install", tool+"@"+release)
	status := run(t, home, "Mend idemctl.", environment, filepath.Join(bin, "idemctl"), "migrate", "status")
	if strings.Contains(status, "pending") {
		t.Errorf("after %q:\n%s", commands, status)
	}
	if got := run(t, home, "Mend idemctl.", environment, filepath.Join(bin, "idemctl"), "version"); !strings.Contains(got, release) {
		t.Errorf("idemctl version says %q, want %s", got, release)
	}
}

// usage returns the commands of the README's section "Use it", and its Go code as a program.
func usage(t *testing.T) (commands []string, program string) {
	t.Helper()
	_, section, found := strings.Cut(string(read(t, filepath.Join(root, "README.md"))), "\n## Use it\n")
	section, _, _ = strings.Cut(section, "\n## ")
	_, code, fenced := strings.Cut(section, "\n```go\n")
	code, _, closed := strings.Cut(code, "\n```\n")
	for line := range strings.Lines(section) {
		if command, indented := strings.CutPrefix(line, "    "); indented {
			commands = append(commands, strings.TrimSpace(command))
		}
	}
	if !found || !fenced || !closed || len(commands) == 0 {
		t.Fatal("the README's section \"Use it\" has no commands or no code: mend it or this test")
	}

	return commands, `package main

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"` + module + `/consume"
	"` + module + `/idem"
	"` + module + `/kafkaadapter"
)

func run(ctx context.Context, pool *pgxpool.Pool) error {
` + code + `
}

func main() { _ = run }
`
}

// released returns the environment in which the go command finds this checkout as a release. All else
// comes from the usual module cache or proxy, and nothing is kept there.
func released(t *testing.T) []string {
	t.Helper()
	proxy := t.TempDir()
	folder := filepath.Join(proxy, module, "@v")
	if err := os.MkdirAll(folder, 0o750); err != nil {
		t.Fatal(err)
	}
	write := func(name string, content []byte) {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("list", []byte(release+"\n"))
	write(release+".info", []byte(`{"Version":"`+release+`"}`))
	write(release+".mod", read(t, filepath.Join(root, "go.mod")))
	pack(t, filepath.Join(folder, release+".zip"))

	known := strings.Fields(run(t, root, "Mend the Go installation.", nil, "go", "env", "GOMODCACHE", "GOPROXY"))
	if len(known) != 2 {
		t.Fatalf("go env says %q", known)
	}

	return []string{
		"GOPROXY=file://" + proxy + ",file://" + filepath.Join(known[0], "cache", "download") + "," + known[1],
		"GOMODCACHE=" + t.TempDir(), "GOFLAGS=-modcacherw", "GOSUMDB=off", "GONOPROXY=none", "GOPRIVATE=", "GOWORK=off",
	}
}

// pack writes the files of the root module as the go command wants them.
func pack(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	archive := zip.NewWriter(file)
	names := strings.Fields(run(t, root, "Mend the checkout.", nil, "git", "ls-files", "--cached", "--others", "--exclude-standard"))
	var nested []string
	for _, name := range names {
		if folder, isModule := strings.CutSuffix(name, "go.mod"); isModule && folder != "" {
			nested = append(nested, folder)
		}
	}
	for _, name := range names {
		content, err := os.ReadFile(filepath.Join(root, name))
		switch {
		case slices.ContainsFunc(nested, func(folder string) bool { return strings.HasPrefix(name, folder) }):
			continue
		case os.IsNotExist(err):
			continue // Deleted and not committed.
		case err != nil:
			t.Fatal(err)
		}
		entry, err := archive.Create(module + "@" + release + "/" + name)
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

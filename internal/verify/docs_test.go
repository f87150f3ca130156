//go:build verify

package verify_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nova-events/idempotent-consumer/internal/markdown"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// TestDocsLinks follows the relative links of the documentation, to anchors too.
func TestDocsLinks(t *testing.T) {
	t.Parallel()
	pages := docs(t)
	for name, page := range pages {
		for _, link := range page.Links {
			path, anchor, _ := strings.Cut(link.Target, "#")
			if strings.Contains(path, "://") {
				continue
			}
			target := name
			if path != "" {
				target = filepath.Join(filepath.Dir(name), path)
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s:%d: mend the link to %s: there is no %s", name, link.Line, link.Target, target)
			}
			if to, isPage := pages[target]; isPage && anchor != "" && !to.Anchors[anchor] {
				t.Errorf("%s:%d: mend the link to %s: %s has no such heading", name, link.Line, link.Target, target)
			}
		}
	}
}

// TestDocsErrors looks for each exported error in the page about errors, and for errors there that are not exported.
func TestDocsErrors(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join(root, "docs", "errors.md"))
	if err != nil {
		t.Fatal(err)
	}
	listed := make(map[string]bool)
	for _, found := range regexp.MustCompile("`([a-z]+\\.(?:Err[A-Z]\\w+|[A-Z]\\w+Error))`").FindAllStringSubmatch(string(page), -1) {
		listed[found[1]] = true
	}
	apis, err := filepath.Glob(filepath.Join(root, "api", "*.txt"))
	if err != nil || len(apis) == 0 {
		t.Fatal(apis, err)
	}
	exported := regexp.MustCompile(`(?m)^(?:var (Err\w+) error|type (\w+Error) struct)$`)
	for _, api := range apis {
		name := strings.TrimSuffix(filepath.Base(api), ".txt")
		name = name[strings.LastIndex(name, "-")+1:]
		for _, found := range exported.FindAllStringSubmatch(string(read(t, api)), -1) {
			if is := name + "." + found[1] + found[2]; !listed[is] {
				t.Errorf("docs/errors.md does not say what to do about %s", is)
			} else {
				delete(listed, is)
			}
		}
	}
	for name := range listed {
		t.Errorf("docs/errors.md lists %s, which no package exports", name)
	}
}

// TestDocsMake looks up the targets that the documentation names.
func TestDocsMake(t *testing.T) {
	t.Parallel()
	var targets []string
	for _, found := range regexp.MustCompile(`(?m)^([a-z-]+):`).FindAllStringSubmatch(string(read(t, filepath.Join(root, "Makefile"))), -1) {
		targets = append(targets, found[1])
	}
	for name, page := range docs(t) {
		for _, command := range page.Commands("make") {
			for _, word := range command.Words[1:] {
				if !strings.Contains(word, "=") && !slices.Contains(targets, word) {
					t.Errorf("%s:%d: %q: the Makefile has no target %s", name, command.Line, strings.Join(command.Words, " "), word)
				}
			}
		}
	}
}

// TestDocsGoCommands looks up the folders of this repository that the documentation's go commands name. Commands
// of an example stand in its folder, all others in the root.
func TestDocsGoCommands(t *testing.T) {
	t.Parallel()
	for name, page := range docs(t) {
		if name == "docs/quick-start.md" {
			continue // TestQuickStart runs its commands in a module of their own.
		}
		home := ""
		if strings.HasPrefix(name, "examples/") {
			home = filepath.Dir(name)
		}
		for _, command := range page.Commands("go") {
			folder := filepath.Join(root, home)
			for i, word := range command.Words[1:] {
				if i > 0 && command.Words[i] == "-C" {
					folder = filepath.Join(folder, word)
				} else if !strings.HasPrefix(word, "./") && !strings.HasPrefix(word, "../") {
					continue
				}
				if _, err := os.Stat(filepath.Join(folder, strings.TrimSuffix(word, "..."))); err != nil && !strings.HasSuffix(folder, word) {
					t.Errorf("%s:%d: %q: %v", name, command.Line, strings.Join(command.Words, " "), err)
				}
			}
		}
	}
}

// TestDocsSQL has PostgreSQL parse the documentation's SQL: blocks of "sql", and queries within sentences.
func TestDocsSQL(t *testing.T) {
	t.Parallel()
	connection, err := pgtest.NewDB(t).Pool(t).Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Release()
	query := regexp.MustCompile(`^(SELECT|INSERT|UPDATE|DELETE|SHOW) [^…]+$`)
	for name, page := range docs(t) {
		statements := slices.DeleteFunc(page.Spans, func(span markdown.Code) bool {
			return !query.MatchString(span.Text) || span.Text == "SHOW DATABASES" // PgBouncer's.
		})
		for _, block := range page.Blocks {
			if block.Info == "sql" {
				for statement := range strings.SplitSeq(block.Text, ";\n") {
					statements = append(statements, markdown.Code{Text: statement, Line: block.Line})
				}
			}
		}
		for _, statement := range statements {
			if _, err := connection.Conn().PgConn().Prepare(t.Context(), "", statement.Text, nil); err != nil {
				t.Errorf("%s:%d: %s: %v", name, statement.Line, statement.Text, err)
			}
		}
	}
}

// docs are the pages of the documentation.
func docs(t *testing.T) map[string]*markdown.Page {
	t.Helper()
	pages, err := markdown.Pages(root)
	if err != nil {
		t.Fatal(err)
	}
	// What was once so may be different now.
	changelog, found := pages["CHANGELOG.md"]
	if !found {
		t.Fatal("no documentation was found")
	}
	pages["CHANGELOG.md"] = &markdown.Page{Links: changelog.Links, Anchors: changelog.Anchors}

	return pages
}

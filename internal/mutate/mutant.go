package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// mutant is the code with a mechanism switched off.
type mutant struct {
	id        string // stays when the words change
	mechanism string // what is switched off, for people

	// Put stands in place of find, which stands exactly once in the file. Paths begin at the repository's root.
	file, find, put string

	checker checker
	says    string // what the checker has to print, as far as it is the same each time

	limit time.Duration // of the checker, if it is to end with the words of its timeout; 0: that of the command line
}

// checker is the tests that have to notice.
type checker struct {
	pkg     string // the folder of the package
	run     string // as for "go test -run"
	tags    string // for the build
	adapter string // of the tests in e2e; empty for their default
}

// in is the checker of a package that the tests, or subtests, of these names are ("TestA|TestB/sub").
func in(pkg, names string) checker {
	exact := strings.NewReplacer("|", "$|^", "/", "$/^")

	return checker{pkg: pkg, run: "^" + exact.Replace(names) + "$"}
}

// String names the tests for people.
func (c checker) String() string {
	text := c.pkg + " " + strings.NewReplacer("^", "", "$", "").Replace(c.run)
	if c.adapter != "" {
		text += " (IDEM_TEST_ADAPTER=" + c.adapter + ")"
	}

	return text
}

func (m mutant) name() string { return m.id }

// apply returns the file's content with the mechanism switched off.
func (m mutant) apply(root string) ([]byte, error) {
	content, err := os.ReadFile(filepath.Join(root, m.file))
	if err != nil {
		return nil, err
	}
	before, after, _ := strings.Cut(string(content), m.find)
	switch n := strings.Count(string(content), m.find); {
	case m.find == "" || m.find == m.put:
		return nil, errors.New("it changes nothing")
	case n != 1:
		return nil, fmt.Errorf("%s has %q %d times, not once: mend the mutant", m.file, m.find, n)
	}

	return []byte(before + m.put + after), nil
}

// overlay writes the mutant into a folder and returns the file that "go build -overlay" takes. So no
// source file is touched.
func (m mutant) overlay(root, folder string) (string, error) {
	content, err := m.apply(root)
	if err != nil {
		return "", err
	}
	replacement := filepath.Join(folder, filepath.Base(m.file))
	if err := os.WriteFile(replacement, content, 0o600); err != nil {
		return "", err
	}

	return writeOverlay(folder, map[string]string{filepath.Join(root, m.file): replacement})
}

// writeOverlay writes which files replace which, and returns the file for the go command.
func writeOverlay(folder string, replace map[string]string) (string, error) {
	encoded, err := json.Marshal(struct {
		Replace map[string]string `json:"Replace"` //nolint:tagliatelle // The go command chose the name.
	}{replace})
	if err != nil {
		return "", fmt.Errorf("encode the overlay: %w", err)
	}
	path := filepath.Join(folder, "overlay.json")

	return path, os.WriteFile(path, encoded, 0o600)
}

// check returns what is wrong with a list of mutants, without running any.
func check(root string, mutants []mutant, proof string) []error {
	var wrong []error
	seen := map[string]bool{}
	for _, m := range mutants {
		if seen[m.id] {
			wrong = append(wrong, fmt.Errorf("%s: there are two of that name", m.id))
		}
		seen[m.id] = true
		if _, err := m.apply(root); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", m.id, err))
		}
		if m.mechanism == "" || m.says == "" || m.checker.pkg == "" || m.checker.run == "" {
			wrong = append(wrong, fmt.Errorf("%s: it lacks a mechanism, a checker or the words to find it by", m.id))
		}
	}
	told, err := readRows(proof)
	if err != nil {
		wrong = append(wrong, err)
	}
	for _, m := range mutants {
		if !strings.HasPrefix(told[m.id], m.row()) {
			wrong = append(wrong, fmt.Errorf("%s: %s does not have it as it is; run \"make mutate ARGS='-write -run ^%s$'\"", m.id, proof, m.id))
		}
	}
	for id := range told {
		if !seen[id] {
			wrong = append(wrong, fmt.Errorf("%s: %s has it, but there is no such mutant; run \"make mutate ARGS='-write -run ^$'\"", id, proof))
		}
	}

	return wrong
}

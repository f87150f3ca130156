package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
)

const proofHead = `# What the tests say with a mechanism switched off

Made by ` + "`make mutate`" + ` (` + "`ARGS=-write`" + `), which switches one mechanism off after the other and runs the tests that have to
notice. Each mechanism is a change of the source in ` + "`internal/mutate`" + `, which is built with ` + "`go test -overlay`" + `: no file is
touched, and nothing of it is in a normal build. The run fails if a change no longer fits the source, does not compile, or is
not noticed in the words that are expected, and if a test fails without it.
[model.md](model.md) does the same with a model of the protocol.

The time is that of the tests with their set-up, without the build, on a busy machine with two cores.
`

// keptFrom is where the part of the proof begins that people write.
const keptFrom = "\n## Chaos\n"

// rowOf is a line of the tables, and the id in it.
var rowOf = regexp.MustCompile("(?m)^\\| `([^`]+)` \\|.*$")

// readRows returns the lines of the proof by the ids of the mutants.
func readRows(path string) (map[string]string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	rows := map[string]string{}
	for _, match := range rowOf.FindAllSubmatch(content, -1) {
		rows[string(match[1])] = string(match[0])
	}

	return rows, nil
}

// writeProof writes the lines of the mutants that were found, and keeps those of the others.
func writeProof(path string, groups []group, results []result) error {
	rows, err := readRows(path)
	if err != nil {
		return err
	}
	found := map[string]result{}
	for _, r := range results {
		if r.Found {
			found[r.ID] = r
		}
	}
	var text strings.Builder
	text.WriteString(proofHead)
	for _, g := range groups {
		fmt.Fprintf(&text, "\n## %s\n\n| | switched off | tests | what they say | after |\n|---|---|---|---|---|\n", g.title)
		for _, m := range g.mutants {
			if r, ok := found[m.id]; ok {
				rows[m.id] = fmt.Sprintf("%s %s | %.1f s |", m.row(), quoted(r.Said), r.Seconds)
			}
			if line, ok := rows[m.id]; ok {
				text.WriteString(line + "\n")
			}
		}
	}

	former, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if _, kept, found := strings.Cut(string(former), keptFrom); found {
		text.WriteString(keptFrom + kept)
	}

	return os.WriteFile(path, []byte(text.String()), 0o600)
}

// row is how the mutant's line begins.
func (m mutant) row() string {
	return fmt.Sprintf("| `%s` | %s | %s |", m.id, cell(m.mechanism), cell(m.checker.String()))
}

// cell is text for a cell of a table.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

// quoted is what a program said, for a cell.
func quoted(said string) string {
	const most = 200
	said = strings.Join(strings.Fields(strings.ReplaceAll(said, "`", "'")), " ")
	if runes := []rune(said); len(runes) > most {
		said = string(runes[:most]) + "…"
	}

	return "`" + cell(said) + "`"
}

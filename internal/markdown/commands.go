package markdown

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Command is a command that the page tells its reader to run.
type Command struct {
	Words []string
	Line  int
	// Whole is false for a command within a sentence, which may leave out its arguments.
	Whole bool
}

var (
	separators  = regexp.MustCompile(`;|&&|\|`)
	assignments = regexp.MustCompile(`^([A-Z_]+=\S* +)+`)
	words       = regexp.MustCompile(`("[^"]*"|'[^']*'|[^\s"'])+`)
)

// Commands returns those of the program's commands that are written on the page: each line of a block without a
// language or of "sh", the lines behind "$ " of "console", and code in a sentence that begins with the program's
// name. Those with "…" in them are left out.
func (p *Page) Commands(program string) []Command {
	var found []Command
	for _, block := range p.Blocks {
		for i, line := range strings.Split(block.Text, "\n") {
			typed, isTyped := strings.CutPrefix(line, "$ ")
			if block.Info == "" || block.Info == "sh" || block.Info == "console" && isTyped {
				found = append(found, commands(program, typed, block.Line+i, true)...)
			}
		}
	}
	for _, span := range p.Spans {
		found = append(found, commands(program, span.Text, span.Line, false)...)
	}

	return found
}

// commands returns the program's commands in a line of a shell.
func commands(program, line string, number int, whole bool) []Command {
	line, _, _ = strings.Cut(line, " #")
	var found []Command
	for _, part := range separators.Split(line, -1) {
		part = assignments.ReplaceAllString(strings.TrimSpace(part), "")
		if rest, isTool := strings.CutPrefix(part, "go tool "+program); isTool {
			part = program + rest
		}
		list := words.FindAllString(part, -1)
		if len(list) == 0 || list[0] != program || strings.Contains(part, "…") {
			continue
		}
		for i, word := range list {
			list[i] = strings.Trim(word, `"'`)
		}
		found = append(found, Command{Words: list, Line: number, Whole: whole})
	}

	return found
}

// Pages returns the documentation below the repository's root, by path: the pages of the root folder and of docs, and
// each README of the examples.
func Pages(root string) (map[string]*Page, error) {
	pages := map[string]*Page{}
	for _, pattern := range []string{"*.md", "docs/*.md", "examples/*.md", "examples/*/*.md"} {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			name, err := filepath.Rel(root, path)
			if err != nil {
				return nil, err
			}
			pages[name] = Parse(string(text))
		}
	}

	return pages, nil
}

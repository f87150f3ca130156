package main

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
)

const (
	document = "docs/model.md"

	// begin and end are the lines of the document between which everything is written here.
	begin = "<!-- Written by make model ARGS=-write. -->\n"
	end   = "<!-- The end of what make model writes. -->\n"
)

// story tells the steps, with consumers as 1 and 2.
func (r result) story() string {
	var text strings.Builder
	tell := func(steps []step) {
		for i, s := range steps {
			switch {
			case i > 0 && s.who > 0 && s.who == steps[i-1].who:
				text.WriteString(", " + s.what)
			case s.who > 0:
				fmt.Fprintf(&text, "%s%d %s", separator(i), s.who, s.what)
			default:
				fmt.Fprintf(&text, "%s%s", separator(i), s.what)
			}
		}
		text.WriteString(".")
	}
	tell(r.steps)
	switch len(r.again) {
	case 0:
	case 1: // The state that it ends in.
		text.WriteString(" There it stays.")
	default:
		text.WriteString(" Then again and again: ")
		tell(r.again)
	}

	return text.String()
}

func separator(i int) string {
	if i == 0 {
		return ""
	}

	return "; "
}

// rowOf is a line of the tables, and the name of the check in it.
var rowOf = regexp.MustCompile("(?m)^\\| `([^`]+)` \\|.*$")

// table is one of the document.
type table struct {
	head   string
	checks []check
}

func (s specification) tables(without []check) []table {
	return []table{
		{"## " + s.title + ": what holds\n\n| | mode | records | faults | promises | states |\n|---|---|---|---|---|---|\n", s.holds},
		{"## " + s.title + ": what breaks without a mechanism\n\n| | without this | broken | steps | how |\n|---|---|---|---|---|\n", without},
		{"## " + s.title + ": what is not promised\n\n| | | broken | steps | how |\n|---|---|---|---|---|\n", s.limits},
	}
}

// writeDocument writes what was found in this run between the two lines of the document, and keeps what it has of
// the other checks.
func writeDocument(path string, tables []table, found map[string]result) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(content), begin)
	former, after, ended := strings.Cut(rest, end)
	if !ok || !ended {
		return fmt.Errorf("%s lacks the lines %q and %q", path, begin, end)
	}
	rows := map[string]string{}
	for _, match := range rowOf.FindAllStringSubmatch(former, -1) {
		rows[match[1]] = match[0]
	}
	var text strings.Builder
	for _, table := range tables {
		text.WriteString("\n" + table.head)
		for _, c := range table.checks {
			if r, ok := found[c.name]; ok {
				rows[c.name] = c.row(r)
			}
			if row, ok := rows[c.name]; ok {
				text.WriteString(row + "\n")
			}
		}
	}

	return os.WriteFile(path, []byte(before+begin+text.String()+"\n"+end+after), 0o600)
}

func (c check) row(r result) string {
	if c.broken {
		return fmt.Sprintf("| `%s` | %s | %s | %d | %s |", c.name, c.text, r.broken, len(r.steps), r.story())
	}

	records, faults := "–", "none"
	if c.records > 0 {
		records = strconv.Itoa(c.records)
	}
	if c.faults > 0 {
		faults = fmt.Sprintf("%d of %s", c.faults, commas(c.kinds))
	}

	return fmt.Sprintf("| `%s` | `%s` | %s | %s | %s | %d |", c.name, c.mode, records, faults, commas(c.promises), r.states)
}

func commas(names string) string { return strings.Join(strings.Fields(names), ", ") }

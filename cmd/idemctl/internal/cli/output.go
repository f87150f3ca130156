package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nova-events/idempotent-consumer/internal/readable"
)

// print writes a result to stdout: its text for people, in which what comes from the database is printable
// already, or with --json the result itself.
func (a *app) print(result any, text string) error {
	if a.settings.json {
		var b strings.Builder
		encoder := json.NewEncoder(&b)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(result); err != nil {
			return fmt.Errorf("make JSON: %w", err)
		}
		text = escapeJSON(b.String())
	}
	if _, err := io.WriteString(a.Stdout, text); err != nil {
		return fmt.Errorf("write to stdout: %w", err)
	}

	return nil
}

// table lines up its columns: numbers to the right, everything else to the left.
type table struct {
	columns []column
	rows    [][]string
}

type column struct {
	name   string
	number bool
}

// consumerColumn is the first of what is listed for each consumer.
var consumerColumn = column{name: "CONSUMER"}

func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) String() string {
	headers := make([]string, len(t.columns))
	widths := make([]int, len(t.columns))
	for i, c := range t.columns {
		headers[i] = c.name
	}
	all := append([][]string{headers}, t.rows...)
	for _, row := range all {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, row := range all {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if t.columns[i].number {
				cell, pad = pad+cell, ""
			}
			line.WriteString(cell + pad + "  ")
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}

	return b.String()
}

// facts lines up names and values, one pair a line.
func facts(pairs ...[2]string) string {
	width := 0
	for _, p := range pairs {
		width = max(width, utf8.RuneCountInString(p[0]))
	}
	var b strings.Builder
	for _, p := range pairs {
		value := strings.ReplaceAll(p[1], "\n", "\n"+strings.Repeat(" ", width+2))
		b.WriteString(p[0] + strings.Repeat(" ", width-utf8.RuneCountInString(p[0])+2) + value + "\n")
	}

	return b.String()
}

// decimal writes a number as commands take it.
func decimal[N int32 | int64](n N) string { return strconv.FormatInt(int64(n), 10) }

// optional writes text from the database that may be missing.
func optional(text *string) string {
	if text == nil {
		return "-"
	}

	return readable.Name(*text)
}

func optionalTime(t *time.Time) string {
	if t == nil {
		return "-"
	}

	return readable.Timestamp(*t)
}

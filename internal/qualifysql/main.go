// Command qualifysql qualifies the SQL in the code that sqlc has generated, so that it means the same
// under every search_path and whatever objects others have created: without that PostgreSQL prefers
// public.unnest(text[]) to pg_catalog.unnest(anyarray), wherever public stands in the path.
//
// "make generate" runs it behind sqlc with the folder of the code. The queries themselves stay
// readable, and new ones cannot be forgotten.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: qualifysql folder")
		os.Exit(2)
	}
	if err := folder(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "qualifysql:", err)
		os.Exit(1)
	}
}

// folder rewrites the files that sqlc has generated.
func folder(path string) error {
	files, err := filepath.Glob(filepath.Join(path, "*.sql.go"))
	if err != nil {
		return fmt.Errorf("list the generated files: %w", err)
	}
	for _, file := range files {
		code, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if code, err = generated(code); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if err := os.WriteFile(file, code, 0o600); err != nil { // The file is there and keeps its mode.
			return err
		}
	}

	return nil
}

// constant is a query as sqlc writes it: the line with its name, which pg_stat_statements shows, and
// the SQL.
var constant = regexp.MustCompile("(?s)(\nconst [a-zA-Z]+ = `-- name: ([a-zA-Z]+) [^\n]*\n)(.*?)\n`\n")

// generated qualifies the SQL in a file of sqlc's.
func generated(code []byte) ([]byte, error) {
	var failed error
	out := constant.ReplaceAllFunc(code, func(match []byte) []byte {
		parts := constant.FindSubmatch(match)
		sql, err := qualify(string(parts[3]))
		if err != nil && failed == nil {
			failed = fmt.Errorf("%s: %w", parts[2], err)
		}

		return []byte(string(parts[1]) + sql + "\n`\n")
	})

	return out, failed
}

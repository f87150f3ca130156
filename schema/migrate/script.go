package migrate

import (
	"fmt"
	"io/fs"
	"strings"

	"github.com/nova-events/idempotent-consumer/schema"
)

// Script is one migration as plain SQL, for people who bring a migrator of their own.
type Script struct {
	Name string // file name
	Up   string
	Down string
	// OutsideTransaction is set where PostgreSQL refuses to run the statements in a
	// transaction (CREATE INDEX CONCURRENTLY and the like).
	OutsideTransaction bool
}

// Scripts returns all migrations for the PostgreSQL schema of that name, oldest first. They
// do not create the schema itself.
func Scripts(name string) ([]Script, error) {
	files, err := schema.FS(name)
	if err != nil {
		return nil, fmt.Errorf("migrate: %w", err)
	}

	return scripts(files)
}

func scripts(files fs.FS) ([]Script, error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return nil, fmt.Errorf("migrate: list the migrations: %w", err)
	}

	all := make([]Script, 0, len(names))
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("migrate: read %s: %w", name, err)
		}
		all = append(all, parse(name, string(text)))
	}

	return all, nil
}

// parse splits a migration at goose's annotations and leaves those out.
func parse(name, text string) Script {
	script := Script{Name: name}
	var up, down strings.Builder
	section := &up
	for line := range strings.Lines(text) {
		annotation, found := strings.CutPrefix(strings.TrimSpace(line), "-- +goose ")
		switch {
		case !found:
			section.WriteString(line)
		case annotation == "Down":
			section = &down
		case annotation == "NO TRANSACTION":
			script.OutsideTransaction = true
		}
	}
	script.Up, script.Down = strings.TrimSpace(up.String())+"\n", strings.TrimSpace(down.String())+"\n"

	return script
}

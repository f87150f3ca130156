// Package licences tells under which licences the modules are that go into a program or a package.
package licences

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Module is a module of somebody else, or Go's standard library.
type Module struct {
	Path     string
	Version  string
	Licences []string // SPDX identifiers, or "public domain"; sorted
	Texts    []string // the files that say so, and notices, without those that repeat another
}

// permissive are the licences under which a module may be to be used here. A service that uses this library
// must be free to choose its own.
var permissive = []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "public domain"}

// marks are sentences by which licences are known, in lower case and with single spaces.
var marks = []struct{ licence, sentence string }{
	{"Apache-2.0", "apache license version 2.0, january 2004"},
	{"BSD-3-Clause", "may be used to endorse or promote products derived from this software without"},
	{"BSD-2-Clause", "redistribution and use in source and binary forms"}, // So says BSD-3-Clause, too.
	{"ISC", "permission to use, copy, modify, and/or distribute this software for any purpose"},
	{"ISC", "permission to use, copy, modify, and distribute this software for any purpose"},
	{"MIT", "permission is hereby granted, free of charge, to any person obtaining a copy"},
	{"public domain", "put into the public domain. you can do whatever you want"},
	// Known, and not permissive:
	{"AGPL", "gnu affero general public license"},
	{"BUSL", "business source license"},
	{"CC", "creative commons"},
	{"Commons-Clause", "commons clause"},
	{"EPL", "eclipse public license"},
	{"Elastic", "elastic license"},
	{"GPL", "gnu general public license"},
	{"LGPL", "gnu lesser general public license"},
	{"MPL", "mozilla public license"},
	{"SSPL", "server side public license"},
}

// licencesOf are the licences that a text contains.
func licencesOf(text string) (found []string) {
	text = strings.Join(strings.Fields(strings.ToLower(text)), " ")
	for _, mark := range marks {
		known := slices.Contains(found, mark.licence) || mark.licence == "BSD-2-Clause" && slices.Contains(found, "BSD-3-Clause")
		if !known && strings.Contains(text, mark.sentence) {
			found = append(found, mark.licence)
		}
	}

	return found
}

// Of returns the modules of others that packages of the module in a folder need on Linux, macOS or Windows, by
// their paths, and Go's standard library. It fails if the licence of one is not known, or not permissive.
func Of(ctx context.Context, folder, packages string) ([]Module, error) {
	root, err := goCommand(ctx, folder, "linux", "env", "GOROOT", "GOVERSION")
	if err != nil {
		return nil, err
	}
	environment := strings.Split(root, "\n")
	standard := Module{Path: "Go", Version: environment[1]}
	if err := standard.read(environment[0], environment[0]); err != nil {
		return nil, err
	}
	modules := map[string]*Module{standard.Path: &standard}
	for _, system := range []string{"linux", "darwin", "windows"} {
		listed, err := goCommand(ctx, folder, system, "list", "-deps",
			"-f={{if not .Standard}}{{.Module.Path}}\t{{.Module.Version}}\t{{.Module.Dir}}\t{{.Dir}}\t{{.Module.Main}}{{with .Module.Replace}}ours{{end}}{{end}}", packages)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(listed) {
			fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
			if fields[4] != "false" {
				continue
			}
			m := modules[fields[0]]
			if m == nil {
				m = &Module{Path: fields[0], Version: fields[1]}
				modules[m.Path] = m
			}
			if err := m.read(fields[2], fields[3]); err != nil {
				return nil, err
			}
		}
	}

	return judged(modules)
}

func judged(modules map[string]*Module) ([]Module, error) {
	all := make([]Module, 0, len(modules))
	for _, m := range modules {
		if len(m.Licences) == 0 {
			return nil, fmt.Errorf("%s %s: no licence is found that is known", m.Path, m.Version)
		}
		for _, licence := range m.Licences {
			if !slices.Contains(permissive, licence) {
				return nil, fmt.Errorf("%s %s is under %s; allowed are %s", m.Path, m.Version, licence, strings.Join(permissive, ", "))
			}
		}
		slices.Sort(m.Licences)
		all = append(all, *m)
	}
	slices.SortFunc(all, func(a, b Module) int { return strings.Compare(a.Path, b.Path) })

	return all, nil
}

var legalFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)`)

// read reads the legal files of a package's folder, and of those above it in its module.
func (m *Module) read(module, folder string) error {
	for {
		entries, err := os.ReadDir(folder)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			if entry.IsDir() || !legalFile.MatchString(entry.Name()) || filepath.Ext(entry.Name()) == ".go" {
				continue
			}
			text, err := os.ReadFile(filepath.Join(folder, entry.Name()))
			if err != nil {
				return err
			}
			m.add(string(text))
		}
		if folder == module || len(folder) < len(module) {
			return nil
		}
		folder = filepath.Dir(folder)
	}
}

func (m *Module) add(text string) {
	if slices.Contains(m.Texts, text) {
		return
	}
	m.Texts = append(m.Texts, text)
	for _, licence := range licencesOf(text) {
		if !slices.Contains(m.Licences, licence) {
			m.Licences = append(m.Licences, licence)
		}
	}
}

func goCommand(ctx context.Context, folder, system string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = folder
	cmd.Env = append(cmd.Environ(), "GOOS="+system, "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", cmd, err)
	}

	return string(out), nil
}

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// subject is code of which general mutants are made.
type subject struct {
	files []string // as for filepath.Glob

	// suites are folders of packages, whose tests have to notice. What survives one is tried with the next.
	suites []string
}

//nolint:goconst // Elsewhere these files are those of mutants.
var subjects = []subject{
	{[]string{"internal/backoff/*.go", "internal/tables/*.go"}, []string{"internal/backoff", "idem", "lease", "outbox"}},
	{[]string{"outbox/cursor.go", "outbox/delivery.go"}, []string{"outbox"}},
	{[]string{"internal/engine/*.go"}, []string{"internal/engine", "internal/simulation", "e2e"}},
	{[]string{"idem/*.go"}, []string{"internal/simulation", "idem", "idemsql/ormtest", "e2e"}},
}

// runGeneral is the command "general": it changes conditions and operators, and leaves statements out, everywhere in the
// subjects. It says what becomes of each mutant, and fails only if it cannot. People look at those that survive.
func runGeneral(ctx context.Context, args []string, stdout, stderr io.Writer) (int, error) {
	flags := flag.NewFlagSet("mutate general", flag.ContinueOnError)
	flags.SetOutput(stderr)
	root := flags.String("root", ".", "the `folder` of the repository")
	run := flags.String("run", "", "only the mutants whose place and change (idem/key.go:12: never: a < b) match this `regexp`")
	shard := flags.String("shard", "1/1", "only each n-th of them, from the i-th on (`i/n`)")
	err := flags.Parse(args)
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0, nil
	case err != nil:
		return 2, err
	}
	absolute, err := filepath.Abs(*root)
	if err != nil {
		return 1, err
	}
	for _, s := range subjects {
		g := general{runner: runner{root: absolute}, out: stdout, reached: map[int]bool{}}
		if err := g.subject(ctx, s, *run, *shard); err != nil {
			return 1, err
		}
	}

	return 0, nil
}

// general tries the mutants of a subject.
type general struct {
	runner

	out     io.Writer
	folder  string // for temporary files
	overlay string // the file for the go command: the subject with all its mutants
	reached map[int]bool
}

// subject tries mutants, and prints what becomes of each.
func (g *general) subject(ctx context.Context, s subject, run, shard string) (err error) {
	if g.folder, err = os.MkdirTemp("", "idem-mutants-"); err != nil {
		return err
	}
	defer os.RemoveAll(g.folder) //nolint:errcheck // It is in the system's folder for temporary files.
	all := switches{skip: map[string]bool{}}
	var left []site
	for compiles := false; !compiles; {
		packages, err := g.write(&all, s.files)
		if err != nil {
			return err
		}
		if left, err = selected(all.sites, site.String, run, shard); err != nil || len(left) == 0 {
			return err
		}
		if compiles, err = g.compile(ctx, &all, packages); err != nil {
			return err
		}
	}
	tried := len(left)
	for _, pkg := range s.suites {
		if left, err = g.suite(ctx, checker{pkg: pkg}, left); err != nil {
			return err
		}
	}
	survived := 0
	for _, m := range left {
		verdict := "not reached"
		if g.reached[m.id] {
			verdict = "SURVIVED"
			survived++
		}
		g.tellf("%s %v", verdict, m)
	}
	g.tellf("%s: %d of %d mutants tried: %d killed, %d survived, %d not reached",
		strings.Join(s.files, " "), tried, len(all.sites), tried-len(left), survived, len(left)-survived)

	return nil
}

func (g *general) tellf(format string, args ...any) { _, _ = fmt.Fprintf(g.out, format+"\n", args...) }

// write writes the files with all mutants that compile, as far as that is known, and returns their packages.
func (g *general) write(all *switches, patterns []string) (packages []string, err error) {
	all.sites = nil
	replace := map[string]string{}
	put := func(name string, content []byte) error {
		replaced := filepath.Join(g.root, name)
		replace[replaced] = filepath.Join(g.folder, strings.ReplaceAll(name, "/", "-"))

		return os.WriteFile(replace[replaced], content, 0o600)
	}
	for _, pattern := range patterns {
		paths, err := filepath.Glob(filepath.Join(g.root, pattern))
		if err != nil {
			return nil, err
		}
		pkg := filepath.Dir(pattern)
		packages = append(packages, pkg)
		for _, path := range paths {
			name := filepath.Join(pkg, filepath.Base(path))
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			content, err := os.ReadFile(path)
			if err == nil {
				content, err = all.file(name, content)
			}
			if err := errors.Join(err, put(name, content)); err != nil {
				return nil, err
			}
		}
		if err := put(filepath.Join(pkg, "mutants.go"), fmt.Appendf(nil, helpersSource, filepath.Base(pkg))); err != nil {
			return nil, err
		}
	}
	g.overlay, err = writeOverlay(g.folder, replace)

	return packages, err
}

// compilerError is the place that a compiler's message begins with.
var compilerError = regexp.MustCompile(`(?m)^(?:\S*/)?([^/\s]+\.go):(\d+):\d+: `)

// compile notes the lines whose mutants do not compile. It reports whether all do.
func (g *general) compile(ctx context.Context, all *switches, packages []string) (bool, error) {
	known := len(all.skip)
	for _, pkg := range packages {
		err := g.build(ctx, checker{pkg: pkg}, filepath.Join(g.folder, "compiled.test"), "-overlay="+g.overlay, "-gcflags=-e")
		if err == nil {
			continue
		}
		for _, match := range compilerError.FindAllStringSubmatch(err.Error(), -1) {
			file := strings.TrimPrefix(match[1], strings.ReplaceAll(pkg, "/", "-")+"-")
			all.skip[filepath.Join(pkg, file)+":"+match[2]] = true
		}
		if len(all.skip) == known {
			return false, err
		}
	}

	return len(all.skip) == known, nil
}

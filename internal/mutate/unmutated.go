package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// unmutated runs the checkers of the mutants without any of them, those of a package together. It returns what
// those said that fail: they tell nothing.
func (r runner) unmutated(ctx context.Context, mutants []mutant, told func(string)) (map[checker]string, error) {
	folder, err := os.MkdirTemp("", "idem-checkers-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder) //nolint:errcheck // It is in the system's folder for temporary files.

	var packages []checker // without the tests to run
	of := map[checker][]checker{}
	for _, m := range mutants {
		p := m.checker
		p.run = ""
		if of[p] == nil {
			packages = append(packages, p)
		}
		if !slices.Contains(of[p], m.checker) {
			of[p] = append(of[p], m.checker)
		}
	}
	failed := map[checker]string{}
	for _, p := range packages {
		told(fmt.Sprintf("unmutated: %d checkers of %v", len(of[p]), p))
		if err := r.together(ctx, p, of[p], filepath.Join(folder, "checkers.test"), failed); err != nil {
			return nil, err
		}
	}

	return failed, nil
}

// together runs the checkers of a package at once and, if that fails, one by one to know which do.
func (r runner) together(ctx context.Context, p checker, checkers []checker, program string, failed map[checker]string) error {
	if err := r.build(ctx, p, program); err != nil {
		return err
	}
	runs := make([]string, len(checkers))
	for i, c := range checkers {
		runs[i] = c.run
	}
	all, together := p, r
	all.run = strings.Join(runs, "|")
	together.limit *= 10
	if _, err := together.run(ctx, all, program, nil); err == nil {
		return nil
	}
	for _, c := range checkers {
		output, err := r.run(ctx, c, program, nil)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			failed[c] = fmt.Sprintf("the checker fails unmutated: %v\n%s", err, tail(output))
		}
	}

	return nil
}

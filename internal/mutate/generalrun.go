package main

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// budget is how much time of a package's tests a mutant is given, as measured without it.
const budget = 30 * time.Second

// timed is a test, and how long it takes.
type timed struct {
	name string
	took time.Duration
}

// suite tries mutants with the tests of a package that reach them, and returns those that survive.
func (g *general) suite(ctx context.Context, c checker, mutants []site) ([]site, error) {
	program := filepath.Join(g.folder, "suite.test")
	if err := g.build(ctx, c, program, "-overlay="+g.overlay); err != nil {
		return nil, err
	}
	tests, err := g.reach(ctx, c, program)
	if err != nil {
		return nil, err
	}
	var (
		lock sync.Mutex
		left []site
	)
	each(mutants, func(m site) {
		noticed := ""
		for portion := range portions(tests[m.id]) {
			if noticed = g.notice(ctx, c, program, m, portion); noticed != "" {
				break
			}
		}
		lock.Lock()
		defer lock.Unlock()
		if noticed != "" {
			g.tellf("killed %v: %s: %s", m, c.pkg, noticed)

			return
		}
		left = append(left, m)
		g.reached[m.id] = g.reached[m.id] || len(tests[m.id]) > 0
	})
	slices.SortFunc(left, func(a, b site) int { return a.id - b.id })

	return left, ctx.Err()
}

// testName is what begins a line of -test.list that is a test.
var testName = regexp.MustCompile(`(?m)^(Test|Example|Fuzz)\w*$`)

// reach runs each test of a package alone, and returns by mutant which reach it, the fastest first.
func (g *general) reach(ctx context.Context, c checker, program string) (map[int][]timed, error) {
	g.limit = 10 * time.Minute
	output, err := g.run(ctx, c, program, nil, "-test.list=.")
	if err != nil {
		return nil, fmt.Errorf("list the tests of %v: %w\n%s", c, err, output)
	}
	var (
		lock  sync.Mutex
		tests = map[int][]timed{}
	)
	each(testName.FindAllString(output, -1), func(name string) {
		log := filepath.Join(g.folder, name+".reached")
		err := os.WriteFile(log, nil, 0o600)
		one, began := c, time.Now()
		one.run = "^" + name + "$"
		if err == nil {
			_, err = g.run(ctx, one, program, []string{envReached + "=" + log})
		}
		took := time.Since(began)
		ids, _ := os.ReadFile(log) // Without them it reaches nothing.
		lock.Lock()
		defer lock.Unlock()
		if err != nil {
			g.tellf("left out, because it fails without a mutant: %v: %v", one, err)

			return
		}
		for _, text := range slices.Compact(slices.Sorted(strings.FieldsSeq(string(ids)))) {
			if id, err := strconv.Atoi(text); err == nil {
				tests[id] = append(tests[id], timed{name, took})
			}
		}
	})
	for _, reaching := range tests {
		slices.SortFunc(reaching, func(a, b timed) int { return cmp.Compare(a.took, b.took) })
	}

	return tests, ctx.Err()
}

// portions are tests to run together, within the budget: the first for a second, the next ones for ever longer.
func portions(tests []timed) iter.Seq[[]timed] {
	return func(yield func([]timed) bool) {
		most, all := time.Second, time.Duration(0)
		for len(tests) > 0 && all < budget {
			n := 1
			sum := tests[0].took
			for n < len(tests) && sum+tests[n].took <= most {
				sum += tests[n].took
				n++
			}
			if !yield(tests[:n]) {
				return
			}
			tests, all, most = tests[n:], all+sum, 4*most
		}
	}
}

// failure is the line that tells why a program of tests fails.
var failure = regexp.MustCompile(`(?m)^\s*--- FAIL: \S+|^(panic|fatal error): .*`)

// notice runs tests with a mutant and returns what fails; "" is nothing.
func (g *general) notice(ctx context.Context, c checker, program string, m site, tests []timed) string {
	r := g.runner
	r.limit = 30 * time.Second
	names := make([]string, len(tests))
	for i, t := range tests {
		names[i] = t.name
		r.limit += 3 * t.took
	}
	c.run = "^(" + strings.Join(names, "|") + ")$"
	output, err := r.run(ctx, c, program, []string{envMutant + "=" + strconv.Itoa(m.id), envPatience + "=" + patience}, "-test.failfast")
	if err == nil || ctx.Err() != nil {
		return ""
	}

	return cmp.Or(strings.TrimSpace(failure.FindString(output)), err.Error())
}

// each calls a function for all values, as many at a time as there are processors.
func each[T any](values []T, do func(T)) {
	next := make(chan T)
	var workers sync.WaitGroup
	for range runtime.NumCPU() {
		workers.Go(func() {
			for v := range next {
				do(v)
			}
		})
	}
	for _, v := range values {
		next <- v
	}
	close(next)
	workers.Wait()
}

// Mutate switches mechanisms off, one after the other, and has the tests that guard them notice:
//
//	make mutate ARGS="-run lanes"
//
// A mutant that no test notices is a gap in the tests. What they say stands in docs/proof.md.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"time"
)

// group is a table of the proof.
type group struct {
	title   string
	mutants []mutant
}

var groups = []group{
	{"The guard", guard},
	{"Owners and checkpoints", owners},
	{"Transactions of database/sql", databaseSQL},
	{"Migrations and operations", operations},
	{"Where a partition goes on, and whose it is", positions},
	{"Handlers and transactions", handlers},
	{"Records that kill processes", suspicions},
	{"Dead letters of the consumer", letters},
	{"Control by operators", controls},
	{"Effects outside the transaction", leases},
	{"HTTP requests with an Idempotency-Key", requests},
	{"The outbox", outboxes},
	{"Hooks of the consumer", hooks},
	{"Members of a group", membership},
	{"Fetching and memory", fetching},
	{"The console", consoles},
	{"Telemetry", telemetry},
}

const proofFile = "docs/proof.md"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	status, err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
	}
	os.Exit(status)
}

// settings are the command line.
type settings struct {
	root, run, shard string
	timeout          time.Duration
	check, json      bool
	write            bool
	overlay          string
}

func parse(args []string, stderr io.Writer) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("mutate", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&s.root, "root", ".", "the `folder` of the repository")
	flags.StringVar(&s.run, "run", "", "only the mutants whose ids match this `regexp`")
	flags.StringVar(&s.shard, "shard", "1/1", "only each n-th of them, from the i-th on (`i/n`)")
	flags.DurationVar(&s.timeout, "timeout", 2*time.Minute, "how long the tests of a mutant may take")
	flags.BoolVar(&s.json, "json", false, "print the results as JSON")
	flags.BoolVar(&s.write, "write", false, "write what the tests say into "+proofFile)
	flags.BoolVar(&s.check, "check", false, "only check that the mutants fit the source and stand in "+proofFile)
	flags.StringVar(&s.overlay, "overlay", "", "only write the mutant into this `folder`, and print the file for \"go build -overlay\"")
	err := flags.Parse(args)
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}

	return s, err
}

// run returns the exit status: 1 if a mutant was not found, 2 for a wrong command line.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (int, error) {
	if len(args) > 0 && args[0] == "general" {
		return runGeneral(ctx, args[1:], stdout, stderr)
	}
	s, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0, nil
	}
	var chosen []mutant
	if err == nil {
		chosen, err = selected(all(groups), mutant.name, s.run, s.shard)
	}
	if err != nil {
		return 2, err
	}
	root, err := filepath.Abs(s.root)
	if err != nil {
		return 1, err
	}
	proof := filepath.Join(root, proofFile)
	if s.check {
		err := errors.Join(check(root, all(groups), proof)...)

		return statusOf(err == nil), err
	}
	if s.overlay != "" {
		return s.writeOverlay(root, chosen, stdout)
	}
	r := runner{root: root, limit: s.timeout}
	results, err := r.all(ctx, chosen, func(line string) { _, _ = fmt.Fprintln(stderr, line) })
	if err == nil && s.write {
		err = writeProof(proof, groups, results)
	}
	if err == nil && s.json {
		err = json.NewEncoder(stdout).Encode(results)
	}

	return statusOf(err == nil && !slices.ContainsFunc(results, func(r result) bool { return !r.Found })), err
}

// writeOverlay is for programs that are to run with a mutant, such as e2e/chaos.
func (s settings) writeOverlay(root string, chosen []mutant, stdout io.Writer) (int, error) {
	if len(chosen) != 1 {
		return 2, fmt.Errorf("-overlay: -run chooses %d mutants, not one", len(chosen))
	}
	path, err := chosen[0].overlay(root, s.overlay)
	if err != nil {
		return 1, err
	}
	_, err = fmt.Fprintln(stdout, path)

	return statusOf(err == nil), err
}

func statusOf(good bool) int {
	if good {
		return 0
	}

	return 1
}

func all(groups []group) []mutant {
	var mutants []mutant
	for _, g := range groups {
		mutants = append(mutants, g.mutants...)
	}

	return mutants
}

// selected returns the values that the flags -run, for their names, and -shard choose.
func selected[T any](values []T, name func(T) string, run, shard string) ([]T, error) {
	pattern, err := regexp.Compile(run)
	if err != nil {
		return nil, fmt.Errorf("-run: %w", err)
	}
	var first, of int
	if _, err := fmt.Sscanf(shard, "%d/%d", &first, &of); err != nil || first < 1 || first > of {
		return nil, fmt.Errorf("-shard: %q is none; the second of three is 2/3", shard)
	}
	var chosen []T
	n := 0
	for _, v := range values {
		if !pattern.MatchString(name(v)) {
			continue
		}
		if n++; (n-first)%of == 0 {
			chosen = append(chosen, v)
		}
	}

	return chosen, nil
}

// all tries the mutants and tells what becomes of each.
func (r runner) all(ctx context.Context, mutants []mutant, told func(line string)) ([]result, error) {
	began, found := time.Now(), 0
	failed, err := r.unmutated(ctx, mutants, told)
	if err != nil {
		return nil, err
	}
	results := make([]result, 0, len(mutants))
	for i, m := range mutants {
		res := result{ID: m.id, Mechanism: m.mechanism, Checker: m.checker.String()}
		if said, fails := failed[m.checker]; fails {
			res.Said = said
		} else if res, err = r.try(ctx, m); err != nil {
			return nil, err
		}
		verdict := "NOT FOUND"
		if res.Found {
			verdict = "found"
			found++
		}
		told(fmt.Sprintf("%d/%d %s: %s after %.1f s: %s", i+1, len(mutants), m.id, verdict, res.Seconds, res.Said))
		results = append(results, res)
	}
	told(fmt.Sprintf("%d of %d mutants found in %v", found, len(mutants), time.Since(began).Round(time.Second)))

	return results, nil
}

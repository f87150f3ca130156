// Chaos runs consumers, producers, PostgreSQL and Apache Kafka for a while, breaks what can be broken, mends it, and then
// judges by package history whether each promise was kept:
//
//	make chaos DURATION=60s SEED=7
//
// The seed decides what the run is made of, and which faults come when and in which order. It does not decide what the
// processes make of that: they are as fast as the machine lets them. So a seed repeats the faults, not the run.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/nova-events/idempotent-consumer/e2e/history"
)

// runFile has all that was judged.
const runFile = "run.json"

func main() {
	if os.Getenv(envWorker) != "" {
		os.Exit(work(os.Stdin))
	}
	if dsn := os.Getenv(envMigrate); dsn != "" {
		os.Exit(migrateTables(dsn))
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // A second signal ends it at once.
	status, err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
	}
	os.Exit(status)
}

// settings are the command line.
type settings struct {
	duration, patience time.Duration
	seed               uint64
	only               string
	judge              string
	keep, schedule     bool
	clocks             bool
}

func parse(args []string, stderr io.Writer) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.DurationVar(&s.duration, "duration", time.Minute, "how long faults come")
	flags.DurationVar(&s.patience, "patience", 2*time.Minute, "how long to wait for all records when everything is mended")
	flags.Uint64Var(&s.seed, "seed", 0, "decides about the faults (default: another one each time)")
	flags.StringVar(&s.only, "only", "", "only faults whose kind matches this `regexp`")
	flags.BoolVar(&s.keep, "keep", false, "keep the histories of a run without violations, too")
	flags.StringVar(&s.judge, "judge", "", "only judge again the run whose histories are in this `folder`")
	flags.BoolVar(&s.clocks, "clocks", false, "step the workers' clocks, too, which takes a build with another package time")
	flags.BoolVar(&s.schedule, "schedule", false, "only print which faults would come when")
	err := flags.Parse(args)
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if s.seed == 0 {
		s.seed = uint64(rand.Uint32N(1_000_000)) //nolint:gosec // It is short, for people.
	}

	return s, err
}

// run returns the exit status: 1 if a promise was broken or the run failed, 2 for a wrong command line.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (int, error) {
	s, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0, nil
	}
	if err != nil {
		return 2, err
	}
	if s.judge != "" {
		return judgeAgain(s.judge, stderr)
	}
	p, err := newPlan(s)
	if err != nil {
		return 2, err
	}
	if s.schedule {
		_, err := fmt.Fprintf(stdout, "%v\n%s", p, p.schedule())

		return 0, err
	}
	folder, err := os.MkdirTemp("", fmt.Sprintf("idem-chaos-%d-", s.seed))
	if err != nil {
		return 1, err
	}
	_, _ = fmt.Fprintln(stderr, p)
	r := &runner{plan: p, folder: folder, stderr: stderr}
	result, verdict, err := r.run(ctx)
	kept := err != nil || len(verdict) > 0 || s.keep
	if kept {
		_, _ = fmt.Fprintln(stderr, "the histories are in", folder)
	} else if err := os.RemoveAll(folder); err != nil {
		return 1, err
	}
	if err != nil {
		return 1, err
	}
	tell(stderr, verdict)
	if err := json.NewEncoder(stdout).Encode(result); err != nil {
		return 1, err
	}
	if len(verdict) > 0 {
		return 1, writeJSON(filepath.Join(folder, "verdict.json"), verdict)
	}

	return 0, nil
}

func judgeAgain(folder string, stderr io.Writer) (int, error) {
	text, err := os.ReadFile(filepath.Join(folder, runFile))
	if err != nil {
		return 1, err
	}
	var run history.Run
	if err := json.Unmarshal(text, &run); err != nil {
		return 1, fmt.Errorf("read %s: %w", runFile, err)
	}
	verdict := history.Check(run)
	tell(stderr, verdict)

	return min(len(verdict), 1), nil
}

// tell tells the stories of a few violations of each rule.
func tell(stderr io.Writer, verdict history.Verdict) {
	const few = 3
	told := map[history.Rule]int{}
	for _, v := range verdict {
		if told[v.Rule]++; told[v.Rule] > few {
			continue
		}
		_, _ = fmt.Fprintf(stderr, "\nVIOLATION: %s: %s\n", v.Rule, v.Says)
		for _, sentence := range v.Story {
			_, _ = fmt.Fprintln(stderr, "   ", sentence)
		}
	}
}

func writeJSON(name string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}

	return os.WriteFile(name, text, 0o600)
}

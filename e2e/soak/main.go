// Soak runs two consumers at a steady load for a long time, with retention at work in PostgreSQL and in Apache Kafka, and
// looks whether anything grows:
//
//	make soak
//
// One consumer uses kafkaadapter, the other franzadapter, each in a process and a group of its own. Memory, goroutines,
// sockets, tables, rate and latency are sampled every few seconds; at the end the last part of the run is compared with
// one after the start, when what is retained has been reached.
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
	"syscall"
	"time"
)

func main() {
	if os.Getenv(envWorker) != "" {
		os.Exit(work(os.Stdin, os.Stdout))
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	status, err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
	}
	os.Exit(status)
}

// settings are the command line.
type settings struct {
	duration, every, retention time.Duration
	rate                       int
	record, chart, draw        string
}

func parse(args []string, stderr io.Writer) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.DurationVar(&s.duration, "duration", time.Hour, "how long to run")
	flags.DurationVar(&s.every, "every", 10*time.Second, "how often to look")
	flags.DurationVar(&s.retention, "retention", 5*time.Minute, "how long events and records are kept")
	flags.IntVar(&s.rate, "rate", 2000, "records a second")
	flags.StringVar(&s.record, "record", "", "write what was seen into this `file`")
	flags.StringVar(&s.chart, "chart", "", "draw what was seen into this SVG `file`")
	flags.StringVar(&s.draw, "draw", "", "only judge and draw the record in this `file`")
	err := flags.Parse(args)
	switch {
	case err != nil:
	case flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case s.rate <= 0 || s.every <= 0 || s.retention <= 0 || s.duration < 10*s.every:
		err = errors.New("the rate, the times and the retention must be positive, and the duration ten times as long as what lies between two looks")
	}

	return s, err
}

// run returns the exit status: 1 if something grew or the run failed, 2 for a wrong command line.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (int, error) {
	s, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0, nil
	}
	if err != nil {
		return 2, err
	}
	var r record
	if s.draw != "" {
		err = readJSON(s.draw, &r)
	} else {
		r, err = measure(ctx, s, stderr)
	}
	if s.record != "" { // What was seen until something failed, too.
		err = errors.Join(err, writeJSON(s.record, r))
	}
	if s.chart != "" {
		err = errors.Join(err, os.WriteFile(s.chart, []byte(r.chart()), 0o644)) //nolint:gosec // It is for everybody to look at.
	}
	if err != nil {
		return 1, err
	}
	grown, err := r.tell(stdout)
	if err != nil {
		return 1, err
	}
	if grown > 0 {
		return 1, fmt.Errorf("%d of what should stay as it is does not", grown)
	}

	return 0, nil
}

func readJSON(name string, value any) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}

	return json.Unmarshal(text, value)
}

func writeJSON(name string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}

	return os.WriteFile(name, append(text, '\n'), 0o644) //nolint:gosec // As above.
}

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The brokers of the end-to-end part.
const (
	apacheKafka = "kafka"
	inProcess   = "inprocess"
	noBroker    = "none"
)

// The modes.
const (
	fullMode  = "full"
	quickMode = "quick"
)

var errUsage = errors.New("wrong usage")

// settings is what the user asks for, and part of the results.
type settings struct {
	Mode        string  `json:"mode"`         // full or quick
	Rounds      int     `json:"rounds"`       // of each measurement of the base load and end to end
	LoadRounds  int     `json:"load_rounds"`  // of each measurement of the other loads
	Seconds     float64 `json:"seconds"`      // that a measurement takes
	Warmup      float64 `json:"warmup"`       // seconds before each
	E2ESeconds  float64 `json:"e2e_seconds"`  // that a measurement end to end takes
	SeedWorkers []int   `json:"seed_workers"` // tried beside workers, of which the best counts
	Workers     int     `json:"workers"`      // of what processes one by one; also tried with the most of the seed's
	Sessions    []int   `json:"sessions"`     // of what processes batches, of which the best counts
	Batch       int     `json:"batch"`        // events in a batch
	Accounts    int     `json:"accounts"`     // that the events change
	Prefilled   int64   `json:"prefilled"`    // rows of the large table; 0: none
	StorageKeys int     `json:"storage_keys"` // that are stored to see how large they are
	Expired     int64   `json:"expired"`      // rows that are deleted meanwhile; 0: skip
	Broker      string  `json:"broker"`       // that was asked for
	Records     int     `json:"records"`      // in the topic
	Consumed    int     `json:"consumed"`     // in the topic that is consumed without a database; 0: skip
	Partitions  int     `json:"partitions"`   // of the topic

	// A section that is run alone.
	Section    string            `json:"section,omitempty"`
	Cycle      float64           `json:"cycle,omitempty"`               // seconds of a measurement of large
	IDs        []string          `json:"ids,omitempty"`                 // the kinds of ids of large
	Retention  float64           `json:"retention,omitempty"`           // seconds that keys are remembered
	Steady     float64           `json:"steady,omitempty"`              // seconds that retention is measured
	PostgreSQL map[string]string `json:"postgresql_settings,omitempty"` // that differ from the usual ones

	out     string
	chart   string
	profile string
	from    string
	command string
}

func full() settings {
	return settings{
		Mode: fullMode, Rounds: 5, LoadRounds: 3, Seconds: 1.5, Warmup: 0.3, E2ESeconds: 3,
		SeedWorkers: []int{1, 4, 8, 16}, Workers: 8, Sessions: []int{1, 2, 4}, Batch: 500, Accounts: 1000,
		Prefilled: 1_000_000, StorageKeys: 200_000, Expired: 10_000_000,
		Broker: apacheKafka, Records: 400_000, Consumed: 1_000_000, Partitions: 4,
		Cycle: 20, IDs: []string{uuid4, uuid7, stringID}, Retention: 20, Steady: 180,
		chart: "../docs/benchmarks.svg",
	}
}

func quick() settings {
	return settings{
		Mode: quickMode, Rounds: 3, LoadRounds: 1, Seconds: 0.7, Warmup: 0.2, E2ESeconds: 1.2,
		SeedWorkers: []int{8}, Workers: 8, Sessions: []int{1, 2}, Batch: 500, Accounts: 1000,
		StorageKeys: 30_000,
		Broker:      inProcess, Records: 150_000, Consumed: 150_000, Partitions: 4,
		Cycle: 2, IDs: []string{uuid4}, Retention: 2, Steady: 6,
	}
}

func parseSettings(args []string, messages io.Writer) (settings, error) {
	s := full()
	if slices.Contains(args, "-quick") || slices.Contains(args, "--quick") {
		s = quick()
	}
	s.command = strings.Join(append([]string{"go run -C bench ."}, args...), " ")
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(messages)
	flags.Bool("quick", false, "measure little, in a minute; other flags override what that means")
	flags.IntVar(&s.Rounds, "rounds", s.Rounds, "rounds of the base load and end to end")
	flags.IntVar(&s.LoadRounds, "load-rounds", s.LoadRounds, "rounds of the other loads; 0: leave them out")
	flags.Float64Var(&s.Seconds, "seconds", s.Seconds, "length of a measurement")
	flags.Float64Var(&s.Warmup, "warmup", s.Warmup, "seconds before each measurement")
	flags.Float64Var(&s.E2ESeconds, "e2e-seconds", s.E2ESeconds, "length of a measurement end to end")
	flags.IntVar(&s.Workers, "workers", s.Workers, "workers of what processes one by one")
	flags.IntVar(&s.Batch, "batch", s.Batch, "events in a batch")
	flags.IntVar(&s.Accounts, "accounts", s.Accounts, "accounts that the events change")
	flags.Int64Var(&s.Prefilled, "prefilled", s.Prefilled, "rows of the large table, such as 50000000; 0: leave it out")
	flags.IntVar(&s.StorageKeys, "storage-keys", s.StorageKeys, "keys that are stored to see how large they are")
	flags.Int64Var(&s.Expired, "expired", s.Expired, "expired rows that are deleted while events are processed; 0: leave it out")
	flags.StringVar(&s.Broker, "broker", s.Broker, "kafka for Apache Kafka, inprocess, or none to leave out what needs one")
	flags.IntVar(&s.Records, "records", s.Records, "records in the topic")
	flags.IntVar(&s.Consumed, "consumed", s.Consumed, "records that are consumed without a database; 0: leave it out")
	flags.IntVar(&s.Partitions, "partitions", s.Partitions, "partitions of the topic")
	flags.Func("seed-workers", "workers of the seed's algorithm besides -workers, of which the best count (default "+list(s.SeedWorkers)+")", numbers(&s.SeedWorkers))
	flags.Func("sessions", "sessions of what processes batches, of which the best count (default "+list(s.Sessions)+")", numbers(&s.Sessions))
	sectionFlags(&s, flags)
	flags.StringVar(&s.out, "out", "results", "folder for latest.json and the mode's own file")
	flags.StringVar(&s.chart, "chart", s.chart, "SVG file for the chart; empty: none")
	flags.StringVar(&s.profile, "profile", "", "folder for a CPU profile of each subject's last round; empty: none")
	flags.StringVar(&s.from, "from", "", "measure nothing: print, and draw, the results in this file")
	if err := flags.Parse(args); err != nil {
		return s, fmt.Errorf("%w: %w", errUsage, err)
	}

	return s, s.validate(flags.Args())
}

// sectionFlags are those of the sections that are run alone.
func sectionFlags(s *settings, flags *flag.FlagSet) {
	flags.StringVar(&s.Section, "section", "", "run only one of "+strings.Join(sectionNames(), ", ")+"; "+sectionRetention+" and "+sectionLarge+" are no part of a usual run")
	flags.Float64Var(&s.Cycle, "cycle", s.Cycle, "large: seconds of a measurement, which begins with a checkpoint")
	flags.Func("ids", "large: kinds of event ids (default uuid4,uuid7,string)", func(text string) error {
		s.IDs = strings.Split(text, ",")

		return nil
	})
	flags.Float64Var(&s.Retention, "retention", s.Retention, "retention: seconds that a key is remembered")
	flags.Float64Var(&s.Steady, "steady", s.Steady, "retention: seconds of the measurement")
	flags.Func("set", "a setting of PostgreSQL, such as wal_compression=lz4; may be repeated", func(text string) error {
		name, value, found := strings.Cut(text, "=")
		if !found {
			return fmt.Errorf("%w: want name=value", errUsage)
		}
		if s.PostgreSQL == nil {
			s.PostgreSQL = map[string]string{}
		}
		s.PostgreSQL[name] = value

		return nil
	})
}

func sectionNames() []string {
	names := make([]string, len(sections))
	for i, section := range sections {
		names[i] = section.name
	}

	return names
}

func (s settings) validate(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("%w: there are no arguments, only flags; got %q", errUsage, rest)
	case s.Rounds < 1 || s.LoadRounds < 0 || s.Seconds <= 0 || s.E2ESeconds <= 0 || s.Warmup < 0:
		return fmt.Errorf("%w: rounds and seconds must be positive", errUsage)
	case s.Workers < 1 || s.Batch < 1 || s.StorageKeys < 1 || s.Prefilled < 0 || s.Expired < 0:
		return fmt.Errorf("%w: sizes must be positive", errUsage)
	case s.Accounts < 10*max(s.Workers, slices.Max(s.SeedWorkers), slices.Max(s.Sessions), s.Partitions):
		return fmt.Errorf("%w: give each worker 10 accounts", errUsage)
	case s.Partitions < 1 || s.Records < s.Partitions || s.Consumed < 0:
		return fmt.Errorf("%w: give each partition a record", errUsage)
	case s.Section != "" && !slices.Contains(sectionNames(), s.Section):
		return fmt.Errorf("%w: -section must be one of %s", errUsage, strings.Join(sectionNames(), ", "))
	case s.Cycle <= 0 || s.Retention <= 0 || s.Steady <= 0:
		return fmt.Errorf("%w: seconds must be positive", errUsage)
	case slices.ContainsFunc(s.IDs, func(ids string) bool { return claimFills[ids] == "" }):
		return fmt.Errorf("%w: -ids are %s, %s and %s", errUsage, uuid4, uuid7, stringID)
	case s.Broker != apacheKafka && s.Broker != inProcess && s.Broker != noBroker:
		return fmt.Errorf("%w: -broker must be %s, %s or %s", errUsage, apacheKafka, inProcess, noBroker)
	default:
		return nil
	}
}

func list(of []int) string { return strings.Trim(strings.ReplaceAll(fmt.Sprint(of), " ", ","), "[]") }

// numbers reads a list such as 1,4,8.
func numbers(into *[]int) func(string) error {
	return func(text string) error {
		*into = nil
		for part := range strings.SplitSeq(text, ",") {
			n, err := strconv.Atoi(part)
			if err != nil || n < 1 {
				return fmt.Errorf("%w: want numbers such as 1,4,8", errUsage)
			}
			*into = append(*into, n)
		}

		return nil
	}
}

// window is how long a subject is measured.
type window struct{ warmup, length time.Duration }

func (s settings) window() window { return window{seconds(s.Warmup), seconds(s.Seconds)} }

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

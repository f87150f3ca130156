package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// record is what a run has seen.
type record struct {
	Settings string   `json:"settings"`
	Samples  []sample `json:"samples"`
	Distinct int64    `json:"distinct"` // events, all of which took effect once
}

// series is one quantity over time.
type series struct {
	name   string
	unit   string
	scale  float64              // of a unit
	of     func(sample) float64 // less than 0: nothing was seen
	growth float64              // how much higher than before it may be in the end; 0: it may be anything
}

// all are the quantities that are looked at. Latency is the machine's as much as ours. Where the rate falls, records are behind.
func all() (list []series) {
	for _, adapter := range []string{kafkaGo, franz} {
		worker := func(of func(u usage) float64) func(sample) float64 {
			return func(s sample) float64 {
				if s.Worker == nil || s.Worker.Adapter != adapter {
					return -1
				}

				return of(*s.Worker)
			}
		}
		list = append(list,
			series{adapter + ": heap", "MB", 1e6, worker(func(u usage) float64 { return u.Heap }), 1.2},
			series{adapter + ": memory of the process", "MB", 1e6, worker(func(u usage) float64 { return u.Resident }), 1.2},
			series{adapter + ": goroutines", "", 1, worker(func(u usage) float64 { return u.Goroutines }), 1.1},
			series{adapter + ": sockets", "", 1, worker(func(u usage) float64 { return u.Sockets }), 1.1},
			series{adapter + ": records in each look", "", 1, worker(func(u usage) float64 { return float64(u.Processed) }), 0},
			series{adapter + ": production to COMMIT, p99", "ms", 1e-3, worker(func(u usage) float64 { return u.P99 }), 2},
		)
	}
	server := func(of func(s sample) float64) func(sample) float64 {
		return func(s sample) float64 {
			if s.Worker != nil {
				return -1
			}

			return of(s)
		}
	}

	return append(list,
		series{"the guard's tables", "MB", 1e6, server(func(s sample) float64 { return s.Database }), 1.2},
		series{"records in Kafka", "", 1, server(func(s sample) float64 { return s.Log }), 0},
		series{"records behind", "", 1, server(func(s sample) float64 { return s.Lag }), 1.5},
	)
}

// points are the quantity at each look.
func (r record) points(s series) (seconds, values []float64) {
	for _, sample := range r.Samples {
		if v := s.of(sample); v >= 0 {
			seconds, values = append(seconds, sample.Seconds), append(values, v/s.scale)
		}
	}

	return seconds, values
}

// parts are the medians of the second fifth of the run, when all that is retained has been reached, and of the last.
func (r record) parts(s series) (before, after float64) {
	_, values := r.points(s)
	n := len(values)
	if n < 5 {
		return 0, 0
	}

	return median(values[n/5 : 2*n/5]), median(values[4*n/5:])
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))

	return sorted[len(sorted)/2]
}

// grown reports whether a quantity is higher than it may be. A difference of two is none where few are counted.
func (s series) grown(before, after float64) bool {
	return s.growth > 0 && after > before*s.growth && after-before > 2
}

// summary is the last line of a run.
type summary struct {
	Settings string             `json:"settings"`
	Events   int64              `json:"events"`
	Grown    int                `json:"grown"`
	Ratios   map[string]float64 `json:"ratios"`
}

// tell writes a table and, in the last line, JSON. It returns how many quantities have grown.
func (r record) tell(w io.Writer) (grown int, err error) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "QUANTITY\tBEFORE\tAT THE END\tRATIO\tMAY BE")
	ratios := map[string]float64{}
	for _, s := range all() {
		before, after := r.parts(s)
		ratio := after / max(before, 1e-9)
		ratios[s.name] = ratio
		may, verdict := "", ""
		if s.growth > 0 {
			may = fmt.Sprintf("%.1f", s.growth)
		}
		if s.grown(before, after) {
			grown++
			verdict = "  GROWN"
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%.2f\t%s%s\n", s.name, number(before, s.unit), number(after, s.unit), ratio, may, verdict)
	}
	if err := table.Flush(); err != nil {
		return grown, err
	}

	return grown, json.NewEncoder(w).Encode(summary{r.Settings, r.Distinct, grown, ratios})
}

func number(v float64, unit string) string {
	if v < 100 && unit != "" {
		return fmt.Sprintf("%.1f %s", v, unit)
	}

	return fmt.Sprintf("%.0f %s", v, unit)
}

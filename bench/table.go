package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
)

// print writes the tables for the terminal, with the ratios at the end.
func (r *report) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(cells ...string) { _, _ = fmt.Fprintln(w, strings.Join(cells, "\t")) }

	line("measurement", "median", "min..max", "unit", "WAL B", "client µs", "server µs", "allocs", "p99 ms", "others")
	for _, section := range []string{sectionDirect, sectionStorage, sectionExpiry, sectionE2E, sectionConsume, sectionEffects, sectionRetention, sectionLarge} {
		for _, m := range r.of(section) {
			id := m.ID
			if m.Broker != "" {
				id += " (" + m.Broker + ")"
			}
			line(id, number(m.Value.Median), number(m.Value.Min)+".."+number(m.Value.Max), m.Unit,
				known(m.PerEvent.WALBytes), known(m.PerEvent.ClientCPU), known(m.PerEvent.ServerCPU), known(m.PerEvent.Allocations), known(m.Call.P99), known(math.Round(10*m.Others)/10))
		}
	}
	line()
	line("ratio", "median", "min..max", "goal", "", "by CPU", "of")
	for _, q := range r.RatioDetails {
		goal, verdict := "", ""
		if q.Goal > 0 {
			sign := ">= "
			if q.AtMost {
				sign = "<= "
			}
			goal, verdict = sign+number(q.Goal), "met"
			if !q.met() {
				verdict = "MISSED"
			}
		}
		line(q.Name, number(q.Value.Median), number(q.Value.Min)+".."+number(q.Value.Max), goal, verdict, known(q.CPU), q.What)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print the results: %w", err)
	}

	return nil
}

// of are the measurements of a section, in the order in which they were first measured.
func (r *report) of(section string) []*measurement {
	var all []*measurement
	for _, m := range r.Measurements {
		if m.Section == section {
			all = append(all, m)
		}
	}

	return all
}

// number writes three significant digits, or all before the point.
func number(f float64) string {
	switch {
	case f >= 100:
		return thousands(fmt.Sprintf("%.0f", f))
	case f >= 10:
		return fmt.Sprintf("%.1f", f)
	case f >= 0.1:
		return fmt.Sprintf("%.2f", f)
	default:
		return fmt.Sprintf("%.2g", f)
	}
}

func known(f float64) string {
	if f == 0 {
		return ""
	}

	return number(f)
}

func thousands(digits string) string {
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}

	return digits
}

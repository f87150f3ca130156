package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// schemaVersion is that of the JSON; docs/benchmarks.md describes it.
const schemaVersion = 2

// report is what a run has measured.
type report struct {
	Schema       int                `json:"schema"`
	StartedAt    time.Time          `json:"started_at"`
	Elapsed      float64            `json:"elapsed_seconds"`
	Command      string             `json:"command"`
	Machine      machine            `json:"machine"`
	Git          revision           `json:"git"`
	Versions     map[string]string  `json:"versions"`
	Settings     settings           `json:"settings"`
	PostgreSQL   map[string]string  `json:"postgresql_settings"`
	Measurements []*measurement     `json:"measurements"`
	RatioDetails []ratio            `json:"ratio_details"`
	Ratios       map[string]float64 `json:"ratios"`
}

// measurement is a figure of a subject, of all rounds.
type measurement struct {
	ID       string  `json:"id"`
	Section  string  `json:"section"` // direct, storage, expiry, e2e, consume, retention or large
	Subject  string  `json:"subject"`
	Workers  int     `json:"workers"`
	Batch    int     `json:"batch"`
	Load     load    `json:"load"`
	Broker   string  `json:"broker,omitempty"`
	Unit     string  `json:"unit"`
	Value    series  `json:"value"`
	PerEvent cost    `json:"per_event"`
	Call     latency `json:"call"`
	Others   float64 `json:"other_cores_busy,omitempty"` // with what is no part of the measurement

	samples []sample
}

// add adds a round.
func (m *measurement) add(s sample) {
	m.samples = append(m.samples, s)
	rates := make([]float64, len(m.samples))
	for i, s := range m.samples {
		rates[i] = s.rate
	}
	m.Value = newSeries(rates)
	m.PerEvent = cost{
		WALBytes:    medianOf(m.samples, func(s sample) float64 { return s.cost.WALBytes }),
		ClientCPU:   medianOf(m.samples, func(s sample) float64 { return s.cost.ClientCPU }),
		ServerCPU:   medianOf(m.samples, func(s sample) float64 { return s.cost.ServerCPU }),
		Allocations: medianOf(m.samples, func(s sample) float64 { return s.cost.Allocations }),
		AllocBytes:  medianOf(m.samples, func(s sample) float64 { return s.cost.AllocBytes }),
	}
	m.Others = medianOf(m.samples, func(s sample) float64 { return s.others })
	m.Call = latency{
		P50: medianOf(m.samples, func(s sample) float64 { return s.latency.P50 }),
		P99: medianOf(m.samples, func(s sample) float64 { return s.latency.P99 }),
	}
}

// find returns the measurement with an id, or nil.
func (r *report) find(id string) *measurement {
	for _, m := range r.Measurements {
		if m.ID == id {
			return m
		}
	}

	return nil
}

// record adds a round to the measurement like m, which it adds first if there is none.
func (r *report) record(m measurement, s sample) {
	known := r.find(m.ID)
	if known == nil {
		known = &m
		r.Measurements = append(r.Measurements, known)
	}
	known.add(s)
}

// save writes the JSON, to latest.json and to a file of the mode's own, and the chart. A section that was
// run alone has only a file of its own.
func (r *report) save(s settings) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the results: %w", err)
	}
	text = append(text, '\n')
	if err := os.MkdirAll(s.out, 0o750); err != nil {
		return fmt.Errorf("create the folder of the results: %w", err)
	}
	write := func(path string, content []byte) error { return os.WriteFile(path, content, 0o644) } //nolint:gosec // The user chose the paths, and results are for all.
	names, chart := []string{"latest", s.Mode}, s.chart
	if s.Section != "" {
		names, chart = []string{s.Section}, ""
	}
	for _, name := range names {
		if err := write(filepath.Join(s.out, name+".json"), text); err != nil {
			return fmt.Errorf("write the results: %w", err)
		}
	}

	return r.draw(chart)
}

// draw writes the chart, unless the path is empty.
func (r *report) draw(path string) error {
	if path == "" {
		return nil
	}
	if err := os.WriteFile(path, []byte(r.chart()), 0o644); err != nil { //nolint:gosec // The user chose the path, and results are for all.
		return fmt.Errorf("write the chart: %w", err)
	}

	return nil
}

// readReport reads what save wrote.
func readReport(path string) (*report, error) {
	text, err := os.ReadFile(path) //nolint:gosec // The user chose the path.
	if err != nil {
		return nil, fmt.Errorf("read the results: %w", err)
	}
	r := &report{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("read the results in %s: %w", path, err)
	}

	return r, nil
}

package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

// made is a record of a run in which a quantity of one worker may grow.
func made(change func(u *usage, minute int)) (r record) {
	for minute := range 60 {
		for _, adapter := range []string{kafkaGo, franz} {
			u := usage{Adapter: adapter, Processed: 1000, Resident: 50e6, Heap: 10e6, Goroutines: 30, Sockets: 10, P99: 0.01}
			if adapter == kafkaGo {
				change(&u, minute)
			}
			r.Samples = append(r.Samples, sample{Seconds: float64(60 * minute), Worker: &u})
		}
		r.Samples = append(r.Samples, sample{Seconds: float64(60 * minute), Database: 1e8, Log: 1e6, Lag: 5})
	}

	return r
}

func TestWhatGrowsIsFound(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(u *usage, minute int)
		grown  int
	}{
		"nothing":                 {func(*usage, int) {}, 0},
		"one goroutine more":      {func(u *usage, minute int) { u.Goroutines += float64(minute / 40) }, 0},
		"a goroutine each minute": {func(u *usage, minute int) { u.Goroutines += float64(minute) }, 1},
		"memory":                  {func(u *usage, minute int) { u.Heap += 1e5 * float64(minute); u.Resident += 4e5 * float64(minute) }, 2},
		"at the beginning only":   {func(u *usage, minute int) { u.Sockets += float64(min(minute, 10)) }, 0},
		"slower by a half":        {func(u *usage, minute int) { u.P99 *= 1 + float64(minute)/120 }, 0},
		"slower all the time":     {func(u *usage, minute int) { u.P99 *= float64(1 + minute) }, 1},
	} {
		var table strings.Builder
		if grown, err := made(test.change).tell(&table); err != nil || grown != test.grown || strings.Count(table.String(), "GROWN") != grown {
			t.Errorf("%s: %d have grown, %v; want %d\n%s", name, grown, err, test.grown, table.String())
		}
	}
}

func TestChartCanBeRead(t *testing.T) {
	t.Parallel()
	chart := made(func(*usage, int) {}).chart()
	decoder := xml.NewDecoder(strings.NewReader(chart))
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if lines := strings.Count(chart, "<polyline"); lines != len(all()) {
		t.Errorf("%d lines, want %d", lines, len(all()))
	}
}

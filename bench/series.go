package main

import (
	"math"
	"slices"
)

// series are the rounds of one figure.
type series struct {
	Median float64   `json:"median"`
	Min    float64   `json:"min"`
	Max    float64   `json:"max"`
	Rounds []float64 `json:"rounds"` // in their order
}

func newSeries(rounds []float64) series {
	if len(rounds) == 0 {
		return series{}
	}

	return series{Median: median(rounds), Min: slices.Min(rounds), Max: slices.Max(rounds), Rounds: rounds}
}

// median is NaN of nothing.
func median(of []float64) float64 {
	if len(of) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(of))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}

	return (sorted[middle-1] + sorted[middle]) / 2
}

// medianOf is the median of one figure of the samples.
func medianOf(samples []sample, figure func(sample) float64) float64 {
	figures := make([]float64, len(samples))
	for i, s := range samples {
		figures[i] = figure(s)
	}

	return median(figures)
}

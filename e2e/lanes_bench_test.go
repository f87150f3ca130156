package e2e_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
)

// BenchmarkLanes consumes one partition with a handler that takes 10 ms: "go test -run=- -bench=Lanes
// -benchtime=5x". Rounds with one lane and with sixteen alternate; their ratio is the last figure.
func BenchmarkLanes(b *testing.B) {
	const lanes, records = 16, 100
	var rates [2][]float64
	var ratios []float64
	for b.Loop() {
		for i, n := range []int{1, lanes} {
			rates[i] = append(rates[i], rateOfLanes(b, n, n*records))
		}
		ratios = append(ratios, rates[1][len(ratios)]/rates[0][len(ratios)])
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(rates[0]), "serial/s")
	b.ReportMetric(median(rates[1]), fmt.Sprintf("%dlanes/s", lanes))
	b.ReportMetric(median(ratios), "ratio")
}

func median(of []float64) float64 { return slices.Sorted(slices.Values(of))[len(of)/2] }

func rateOfLanes(b *testing.B, lanes, records int) float64 {
	b.Helper()
	s := setup(b, broker.InProcess(b), 1)
	s.broker.Write(b, s.topic, events(0, records, 1)...)
	processed := make(chan time.Time, records)
	m := s.start(b, func(c *settings) {
		c.Lanes.Count = lanes
		c.Handle = func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
			letPass(10 * time.Millisecond)

			return record(ctx, tx, m)
		}
		c.Hooks.Process.End = func(_ context.Context, _ consume.ProcessBegin, end consume.ProcessEnd) {
			if end.Processed > 0 {
				processed <- time.Now()
			}
		}
	})
	first := <-processed
	var last time.Time
	for range records - 1 {
		last = <-processed
	}
	m.stop()
	if err := <-m.ended; err != nil {
		b.Error(err)
	}
	m.ended <- nil // for the cleanup

	return float64(records-1) / last.Sub(first).Seconds()
}

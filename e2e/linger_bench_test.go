package e2e_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
)

// BenchmarkLinger consumes 2,000 records a second that are spread over 64 partitions, and reports how
// many share a transaction and how long they take from their time stamp to the handler. An iteration is a
// second.
//
//	go test -C e2e -run='^$' -bench=Linger -benchtime=10x
func BenchmarkLinger(b *testing.B) {
	const (
		partitions = 64
		rate       = 2000
		every      = 10 * time.Millisecond
		chunk      = rate / int(time.Second/every)
	)
	for _, linger := range []time.Duration{0, 20 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond} {
		b.Run(linger.String(), func(b *testing.B) {
			s := setup(b, broker.InProcess(b), partitions)
			total := b.N * rate
			var (
				mu           sync.Mutex
				transactions int
				delays       []time.Duration
			)
			m := s.start(b, func(c *settings) {
				c.Handle, c.Batch.Linger = nil, linger
				c.HandleBatch = func(_ context.Context, _ pgx.Tx, batch []consume.Message) error {
					mu.Lock()
					defer mu.Unlock()
					transactions++
					for _, m := range batch {
						delays = append(delays, time.Since(m.Time))
					}

					return nil
				}
			})
			await := func(n int) {
				for seen := 0; seen < n; letPass(time.Millisecond) { // What is measured ends with it.
					mu.Lock()
					seen = len(delays)
					mu.Unlock()
				}
			}
			s.broker.Write(b, s.topic, events(total, partitions, partitions)...) // All partitions are assigned then.
			await(partitions)
			letPass(linger)
			mu.Lock()
			transactions, delays = 0, make([]time.Duration, 0, total)
			mu.Unlock()

			records := events(0, total, partitions)
			began := time.Now()
			for i := 0; i < total; i += chunk {
				now := time.Now()
				for j := range records[i : i+chunk] {
					records[i+j].Time = now
				}
				s.broker.Write(b, s.topic, records[i:i+chunk]...)
				letPass(time.Until(began.Add(time.Duration(i/chunk+1) * every)))
			}
			await(total)
			took := time.Since(began)
			m.stop()
			if err := <-m.ended; err != nil {
				b.Fatal(err)
			}
			m.ended <- nil // for the cleanup
			slices.Sort(delays)
			b.ReportMetric(float64(total)/took.Seconds(), "records/s")
			b.ReportMetric(float64(total)/float64(transactions), "records/transaction")
			b.ReportMetric(float64(delays[total/2])/float64(time.Millisecond), "p50-ms")
			b.ReportMetric(float64(delays[total*99/100])/float64(time.Millisecond), "p99-ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}

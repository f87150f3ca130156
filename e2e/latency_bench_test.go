package e2e_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/kafkaadapter"
)

// BenchmarkIdleLatency measures, on a topic where nothing else happens, the time from the call
// that produces a record to the end of the COMMIT with which it takes effect. Beside it stand its
// parts that no consumer can change: the produce call, and what this machine needs to write and
// sync 8 KiB, as a COMMIT does.
func BenchmarkIdleLatency(b *testing.B) {
	for name, start := range map[string]func(testing.TB) *broker.Broker{
		"inprocess":   func(t testing.TB) *broker.Broker { return broker.InProcess(t) }, //nolint:thelper // It is none.
		"apachekafka": broker.ApacheKafka,
	} {
		b.Run(name, func(b *testing.B) {
			s := setup(b, start(b), 1)
			committed := make(chan time.Time, 1)
			s.start(b, func(c *kafkaadapter.Config) {
				c.MaxWait, c.CommitInterval = 500*time.Millisecond, time.Second // the defaults
				c.Observe = func(e kafkaadapter.Event) {
					if e.Kind == kafkaadapter.EventProcessed {
						committed <- time.Now()
					}
				}
			})
			s.broker.Write(b, s.topic, events(-1, 1, 1)[0]) // It waits for the topic.
			<-committed
			var produce, total, sync []time.Duration
			for i := range b.N + 20 {
				time.Sleep(20 * time.Millisecond) // Idle.
				began := time.Now()
				event := events(i, 1, 1)[0]
				response, err := s.broker.Client.Produce(b.Context(), &kafka.ProduceRequest{
					Topic: s.topic, RequiredAcks: kafka.RequireAll,
					Records: kafka.NewRecordReader(kafka.Record{Value: kafka.NewBytes(event.Value), Headers: event.Headers}),
				})
				if err == nil {
					err = response.Error
				}
				if err != nil {
					b.Fatal(err)
				}
				produced := time.Since(began)
				took := (<-committed).Sub(began)
				if i >= 20 { // The first ones warm up.
					produce, total, sync = append(produce, produced), append(total, took), append(sync, syncTime(b))
				}
			}
			for what, times := range map[string][]time.Duration{"produce": produce, "total": total, "fsync": sync} {
				slices.Sort(times)
				for _, p := range []int{50, 99} {
					unit := map[int]string{50: "-p50-ms", 99: "-p99-ms"}[p]
					b.ReportMetric(float64(times[len(times)*p/100])/float64(time.Millisecond), what+unit)
				}
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

func syncTime(b *testing.B) time.Duration {
	b.Helper()
	file, err := os.Create(filepath.Join(b.TempDir(), "sync"))
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // It is a scratch file.
	began := time.Now()
	if _, err := file.Write(make([]byte, 8<<10)); err != nil {
		b.Fatal(err)
	}
	if err := file.Sync(); err != nil {
		b.Fatal(err)
	}

	return time.Since(began)
}

package fetch

import (
	"context"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/cluster"
)

// BenchmarkConsume consumes a topic as a member of a group, as package kafkaadapter does but
// without a database. The benchmark of module bench runs it next to other clients, and says
// by the environment where the topic is.
func BenchmarkConsume(b *testing.B) {
	brokers, topic, group := os.Getenv("IDEM_TEST_KAFKA"), os.Getenv("IDEM_BENCH_TOPIC"), os.Getenv("IDEM_BENCH_GROUP")
	if topic == "" {
		b.Skip("IDEM_BENCH_TOPIC names no topic: run \"make bench ARGS=-section=consume\"")
	}
	records, err := strconv.Atoi(os.Getenv("IDEM_BENCH_RECORDS"))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		consumeAll(b, strings.Split(brokers, ","), topic, group, records)
	}
}

func consumeAll(b *testing.B, brokers []string, topic, group string, records int) {
	b.Helper()
	member, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: group, Brokers: brokers, Topics: []string{topic}, StartOffset: kafka.FirstOffset,
	})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := member.Close(); err != nil {
			b.Error(err)
		}
	}()
	generation, err := member.Next(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	client := cluster.New(cluster.Config{Brokers: brokers, ClientID: group, Dial: new(net.Dialer).DialContext})
	defer client.Close()
	client.Follow([]string{topic})
	fetcher := New(client, group, nil)

	responses := make(chan *Response)
	var fetchers sync.WaitGroup
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	ctx, fail := context.WithCancelCause(ctx)
	defer fetchers.Wait()
	defer fail(nil)
	for _, assigned := range generation.Assignments[topic] {
		own := make(chan *Response) // Each partition has one response that waits, and one on its way.
		fetchers.Go(func() {
			defer close(own)
			fail(readAhead(ctx, fetcher, Request{
				Topic: topic, Partition: assigned.ID, Offset: max(0, assigned.Offset),
				MaxBytes: 1 << 20, MaxWait: 500 * time.Millisecond,
			}, own))
		})
		fetchers.Go(func() {
			for r := range own {
				select {
				case responses <- r:
				case <-ctx.Done():
				}
			}
		})
	}

	var start time.Time
	first, got, size := 0, 0, 0
	for got < records {
		select {
		case r := <-responses:
			for _, m := range r.Messages {
				size += len(m.Value)
			}
			if got += len(r.Messages); first == 0 && got > 0 {
				start, first = time.Now(), got
			}
		case <-ctx.Done():
			b.Fatalf("after %d of %d records: %v", got, records, context.Cause(ctx))
		}
	}
	b.ReportMetric(float64(got-first)/time.Since(start).Seconds(), "records/s")
	b.ReportMetric(float64(size)/float64(got), "B/value")
}

func readAhead(ctx context.Context, fetcher *Fetcher, request Request, to chan<- *Response) error {
	for {
		response, err := fetcher.Fetch(ctx, request)
		if err != nil {
			return err
		}
		request.Offset = response.Next
		select {
		case to <- response:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

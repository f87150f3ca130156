package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nova-events/idempotent-consumer/e2e/broker"
)

// The environment tells a process with one round of one client what to consume.
const (
	envBrokers = "IDEM_TEST_KAFKA"
	envTopic   = "IDEM_BENCH_TOPIC"
	envGroup   = "IDEM_BENCH_GROUP"
	envRecords = "IDEM_BENCH_RECORDS"
)

// envProfiles names a folder for CPU profiles of the clients' last rounds.
const envProfiles = "IDEM_BENCH_PROFILES"

// BenchmarkConsume compares how fast clients consume from Apache Kafka as the only member of a
// group, without a database: the fetches of package kafkaadapter, kafka.Reader and franz-go.
//
//	go test -C e2e -run='^$' -bench='^BenchmarkConsume$' -benchtime=5x
//
// Each iteration is a round of all clients, one after the other, so that a machine that is busy
// at times is so for all. Each client has a process of its own, for its garbage to be its own;
// time counts from its first records on, without the joining of the group. Medians of the rates
// are reported, and of the CPU time of a process: other load on the machine affects it less.
func BenchmarkConsume(b *testing.B) {
	const (
		partitions = 4
		records    = 1_000_000
		size       = 200
	)
	kafkaBroker := broker.ApacheKafka(b)
	topic := kafkaBroker.CreateTopic(b, partitions, nil)
	fill(b, kafkaBroker, topic, partitions, records, size)

	fetch := filepath.Join(b.TempDir(), "fetch.test")
	build := exec.CommandContext(b.Context(), "go", "test", "-C", "..", "-c", "-o", fetch, "./kafkaadapter/internal/fetch")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("build the benchmark of package fetch: %v\n%s", err, out)
	}
	own, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	clients := []struct{ name, program, benchmark string }{
		{"fetch", fetch, "^BenchmarkConsume$"},
		{"reader", own, "^BenchmarkConsumeReader$"},
		{"franz", own, "^BenchmarkConsumeFranz$"},
	}
	rates, cpu := map[string][]float64{}, map[string][]float64{}
	for b.Loop() {
		var line strings.Builder
		for _, client := range clients {
			round := exec.CommandContext(b.Context(), client.program, "-test.run=^$", "-test.benchtime=1x", "-test.bench="+client.benchmark)
			round.Env = append(os.Environ(),
				envBrokers+"="+strings.Join(kafkaBroker.Addrs, ","), envTopic+"="+topic,
				envGroup+"="+broker.Name(b), envRecords+"="+strconv.Itoa(records))
			if folder := os.Getenv(envProfiles); folder != "" {
				round.Args = append(round.Args, "-test.cpuprofile="+filepath.Join(folder, client.name+".pprof"))
			}
			rate := measure(b, round)
			used := round.ProcessState.UserTime() + round.ProcessState.SystemTime()
			rates[client.name] = append(rates[client.name], rate)
			cpu[client.name] = append(cpu[client.name], float64(used.Nanoseconds())/records)
			fmt.Fprintf(&line, "%s %.0f/s, %d ns of CPU each; ", client.name, rate, used.Nanoseconds()/records)
		}
		b.Log(line.String())
	}
	for _, client := range clients {
		b.ReportMetric(median(rates[client.name]), client.name+"-records/s")
		b.ReportMetric(median(cpu[client.name]), client.name+"-CPU-ns/record")
	}
	b.ReportMetric(median(rates["fetch"])/median(rates["franz"]), "fetch/franz")
	b.ReportMetric(median(rates["fetch"])/median(rates["reader"]), "fetch/reader")
	b.ReportMetric(0, "ns/op") // A round says nothing.
}

func median(of []float64) float64 { return slices.Sorted(slices.Values(of))[len(of)/2] }

var rateIn = regexp.MustCompile(`([0-9.e+]+) records/s`)

// measure returns the rate that a round reports.
func measure(b *testing.B, round *exec.Cmd) float64 {
	b.Helper()
	out, err := round.CombinedOutput()
	match := rateIn.FindSubmatch(out)
	if err != nil || match == nil {
		b.Fatalf("%s: %v\n%s", round, err, out)
	}
	rate, err := strconv.ParseFloat(string(match[1]), 64)
	if err != nil {
		b.Fatal(err)
	}

	return rate
}

// fill produces records that are not compressed and of which no two are alike.
func fill(b *testing.B, kafkaBroker *broker.Broker, topic string, partitions, records, size int) {
	b.Helper()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(kafkaBroker.Addrs...), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerLinger(10*time.Millisecond),
	)
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	random := rand.NewChaCha8([32]byte{})
	failed := make(chan error, 1)
	for i := range records {
		value := make([]byte, size)
		_, _ = random.Read(value) // It never fails.
		client.Produce(b.Context(), &kgo.Record{Partition: int32(i % partitions), Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		})
	}
	if err := client.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	select {
	case err := <-failed:
		b.Fatal(err)
	default:
	}
}

// round is what a process has to consume.
type round struct {
	brokers      []string
	topic, group string
	records      int
}

func roundOf(b *testing.B) round {
	b.Helper()
	r := round{brokers: strings.Split(os.Getenv(envBrokers), ","), topic: os.Getenv(envTopic), group: os.Getenv(envGroup)}
	if r.topic == "" {
		b.Skip("BenchmarkConsume runs it")
	}
	records, err := strconv.Atoi(os.Getenv(envRecords))
	if err != nil {
		b.Fatal(err)
	}
	r.records = records

	return r
}

// run polls until all records have come. The rate is that after the first poll.
func (r round) run(b *testing.B, poll func(context.Context) (records, bytes int, err error)) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	var start time.Time
	first, got, size := 0, 0, 0
	for got < r.records {
		n, bytes, err := poll(ctx)
		if err != nil {
			b.Fatal(fmt.Errorf("after %d records: %w", got, err))
		}
		size += bytes
		if got += n; first == 0 && got > 0 {
			start, first = time.Now(), got
		}
	}
	b.ReportMetric(float64(got-first)/time.Since(start).Seconds(), "records/s")
	b.ReportMetric(float64(size)/float64(got), "B/value")
}

// BenchmarkConsumeReader is a round of kafka.Reader, which BenchmarkConsume runs.
func BenchmarkConsumeReader(b *testing.B) {
	r := roundOf(b)
	for b.Loop() {
		reader := kafka.NewReader(kafka.ReaderConfig{
			Brokers: r.brokers, GroupID: r.group, Topic: r.topic, StartOffset: kafka.FirstOffset,
			MaxWait: 500 * time.Millisecond, IsolationLevel: kafka.ReadCommitted,
		})
		r.run(b, func(ctx context.Context) (int, int, error) {
			m, err := reader.FetchMessage(ctx)

			return 1, len(m.Value), err
		})
		if err := reader.Close(); err != nil {
			b.Error(err)
		}
	}
}

// BenchmarkConsumeFranz is a round of franz-go, which BenchmarkConsume runs.
func BenchmarkConsumeFranz(b *testing.B) {
	r := roundOf(b)
	for b.Loop() {
		client, err := kgo.NewClient(
			kgo.SeedBrokers(r.brokers...), kgo.ConsumerGroup(r.group), kgo.ConsumeTopics(r.topic),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
			kgo.FetchMaxWait(500*time.Millisecond), kgo.DisableAutoCommit(),
		)
		if err != nil {
			b.Fatal(err)
		}
		r.run(b, func(ctx context.Context) (records, bytes int, err error) {
			fetches := client.PollFetches(ctx)
			fetches.EachRecord(func(record *kgo.Record) {
				records++
				bytes += len(record.Value)
			})

			return records, bytes, errors.Join(fetches.Err())
		})
		client.Close()
	}
}

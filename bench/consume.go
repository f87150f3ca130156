package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The clients that consume without a database.
const (
	adapterName = "kafkaadapter"
	readerName  = "reader"
	franzName   = "franz"
)

// The environment tells a process with one round of one client what to consume. The benchmark of package
// fetch knows the first four.
const (
	envBrokers = "IDEM_TEST_KAFKA"
	envTopic   = "IDEM_BENCH_TOPIC"
	envGroup   = "IDEM_BENCH_GROUP"
	envRecords = "IDEM_BENCH_RECORDS"
	envClient  = "IDEM_BENCH_CLIENT"
	envProfile = "IDEM_BENCH_PROFILE"
)

// roundLimit is when a round is given up: clients wait for their records for a minute.
const roundLimit = 2 * time.Minute

// consumeOnly compares how fast clients consume as the only member of a group, without a database: the
// fetches of package kafkaadapter, kafka.Reader and franz-go. Each client has a process of its own, for
// its garbage to be its own; time counts from its first records on, without the joining of the group.
func (b *bench) consumeOnly(ctx context.Context) error {
	s := b.settings
	if s.Broker == noBroker || s.Consumed == 0 {
		return nil
	}
	topic, err := b.newTopic(ctx, s.Consumed)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "idem-bench-")
	if err != nil {
		return fmt.Errorf("make a temporary folder: %w", err)
	}
	defer os.RemoveAll(folder) //nolint:errcheck // What is left does no harm.
	fetch := filepath.Join(folder, "fetch.test")
	build := exec.CommandContext(ctx, "go", "test", "-C", "..", "-c", "-o", fetch, "./kafkaadapter/internal/fetch") //nolint:gosec // The name is ours.
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the benchmark of package fetch: %w\n%s", err, out)
	}
	own, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	for round := range s.Rounds {
		for _, name := range inTurn([]string{adapterName, franzName, readerName}, round) {
			id := sectionConsume + "/" + name
			ctx, cancel := context.WithTimeout(ctx, roundLimit)
			defer cancel()
			client := exec.CommandContext(ctx, own) //nolint:gosec // It is this program.
			client.Env = append(os.Environ(),
				envBrokers+"="+strings.Join(b.servers.brokers, ","), envTopic+"="+topic, envGroup+"="+topic+"-"+name+"-"+strconv.Itoa(round),
				envRecords+"="+strconv.Itoa(s.Consumed), envClient+"="+name, envProfile+"="+b.profilePath(id))
			if name == adapterName { // Only its module may import the package.
				client.Path = fetch
				client.Args = []string{fetch, "-test.run=^$", "-test.benchtime=1x", "-test.bench=^BenchmarkConsume$"}
				if path := b.profilePath(id); path != "" {
					client.Args = append(client.Args, "-test.cpuprofile="+path)
				}
			}
			result, err := consumeRound(client, s.Consumed)
			if err != nil {
				return fmt.Errorf("%s: %w", id, err)
			}
			b.sayf("round %d/%d  %-45s %9.0f records/s, %.2f µs of CPU each", round+1, s.Rounds, id, result.rate, result.cost.ClientCPU)
			b.report.record(measurement{
				ID: id, Section: sectionConsume, Subject: name, Workers: 1, Load: baseLoad, Broker: b.servers.broker, Unit: "records/s",
			}, result)
		}
	}

	return nil
}

var rateIn = regexp.MustCompile(`([0-9.e+]+) records/s`)

// consumeRound returns the rate that a process reports, and its CPU time.
func consumeRound(client *exec.Cmd, records int) (sample, error) {
	out, err := client.CombinedOutput()
	match := rateIn.FindSubmatch(out)
	if err == nil && match == nil {
		err = errors.New("it reports no rate")
	}
	if err != nil {
		return sample{}, fmt.Errorf("%w\n%s", err, out)
	}
	rate, err := strconv.ParseFloat(string(match[1]), 64)
	if err != nil {
		return sample{}, fmt.Errorf("%q is no rate: %w", match[1], err)
	}
	used := client.ProcessState.UserTime() + client.ProcessState.SystemTime()

	return sample{rate: rate, cost: cost{ClientCPU: float64(used.Microseconds()) / float64(records)}}, nil
}

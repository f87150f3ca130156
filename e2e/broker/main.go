package broker

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nova-events/idempotent-consumer/internal/apachekafka"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

const (
	// envBrokers names an Apache Kafka to use instead of starting one.
	envBrokers = "IDEM_TEST_KAFKA"

	// startTimeout has room for a download of Apache Kafka.
	startTimeout = 5 * time.Minute
)

// shared returns the addresses of the Apache Kafka, which it starts if it is ours.
var shared = sync.OnceValues(func() ([]string, error) {
	if given := os.Getenv(envBrokers); given != "" {
		return strings.Split(given, ","), nil
	}
	cluster, err := startKept(1)
	if err != nil {
		return nil, fmt.Errorf("no Apache Kafka for the tests: set %s to addresses of brokers, or let the tests start it themselves: %w", envBrokers, err)
	}

	return cluster.Addrs(), nil
})

// kept holds the clusters that end with the process.
var kept struct {
	sync.Mutex

	clusters []*apachekafka.Cluster
}

// startKept starts an Apache Kafka that Main stops.
func startKept(brokers int) (*apachekafka.Cluster, error) {
	cluster, err := startKafka(brokers)
	if err != nil {
		return nil, err
	}
	kept.Lock()
	defer kept.Unlock()
	kept.clusters = append(kept.clusters, cluster)

	return cluster, nil
}

func startKafka(brokers int) (*apachekafka.Cluster, error) { return startBehind(brokers, nil) }

// startBehind starts an Apache Kafka whose clients are told other addresses; see apachekafka.Config.
func startBehind(brokers int, advertise func(addr string) string) (*apachekafka.Cluster, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()

	return apachekafka.Start(ctx, apachekafka.Config{Brokers: brokers, Settings: impatient, Advertise: advertise})
}

// impatient makes Apache Kafka compact and expire soon after it is allowed to, and miss the members of KIP-848
// groups as soon as those of others (shortSessions).
var impatient = map[string]string{
	"log.initial.task.delay.ms":       "500",
	"log.retention.check.interval.ms": "500",
	"log.cleaner.backoff.ms":          "500",

	"group.consumer.min.session.timeout.ms":    "6000",
	"group.consumer.session.timeout.ms":        "6000",
	"group.consumer.min.heartbeat.interval.ms": "500",
	"group.consumer.heartbeat.interval.ms":     "500",
}

// waiting is the goroutine that waits for the end of Apache Kafka's process. It is the only
// one of this package that outlives a test.
const waiting = "github.com/nova-events/idempotent-consumer/internal/daemon.(*Home).start.func1"

// Main runs the tests of a package, as pgtest.Main does, and stops every Apache Kafka. TestMain
// calls it; it does not return.
func Main(m *testing.M) {
	pgtest.Main(m, goleak.IgnoreAnyFunction(waiting), goleak.Cleanup(func(code int) {
		for _, cluster := range kept.clusters {
			if err := cluster.Stop(); err != nil {
				fmt.Fprintln(os.Stderr, "broker:", err)
				code = max(code, 1)
			}
		}
		os.Exit(code)
	}))
}
